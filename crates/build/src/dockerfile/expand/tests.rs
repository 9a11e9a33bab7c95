use super::*;

fn variables() -> Vec<String> {
    let pairs = [
        "PWD=/home",
        "SHELL=bash",
        "KOREAN=한국어",
        "EMPTY=",
        "x=abc",
        "path=usr/local/lib/x.tar.gz",
        "one=1",
        "s=a b  c",
        "lines=ab\nab",
        "stars=a*b?c\\d",
        "twice=1",
        "twice=2",
        "eq=k=v",
    ];
    pairs.map(str::to_owned).to_vec()
}

fn expand_by(lexer: Lexer, word: &str) -> Result<Expansion, String> {
    lexer.expand(word, &variables()[..]).map_err(|error| error.reason.to_string())
}

fn check(word: &str, expected: &str) {
    let expansion = expand_by(Lexer::new('\\'), word);
    assert_eq!(expansion.map(|expansion| expansion.text), Ok(expected.to_owned()), "{word}");
}

fn check_words(word: &str, expected: &[&str]) {
    let expansion = expand_by(Lexer::new('\\'), word).expect("a word");
    assert_eq!(expansion.words, expected, "{word}");
}

fn check_error(word: &str, expected: &str) {
    let expansion = expand_by(Lexer::new('\\'), word);
    assert_eq!(expansion.map(|expansion| expansion.text), Err(expected.to_owned()), "{word}");
}

#[test]
fn quotes_and_escapes_are_taken_away() {
    check("", "");
    check("hello", "hello");
    check("he'll'o", "hello");
    check("he\"ll\"o", "hello");
    check("'he llo'", "he llo");
    check(r"he\'llo", "he'llo");
    check(r"he\\llo", r"he\llo");
    check(r"he\llo", "hello");
    check(r"hello\", "hello");
    check(r#""he\"llo""#, "he\"llo");
    check(r#""he\llo""#, r"he\llo");
    check(r#""he\\llo""#, r"he\llo");
    check(r"'he\llo'", r"he\llo");
    check(r"'he'\''llo'", "he'llo");
    check(r#""it's""#, "it's");
    check("''", "");
    check("\"\"", "");
    check("a  b", "a  b");
    check("한국어 \u{85}x", "한국어 \u{85}x");
}

#[test]
fn variables_are_replaced() {
    check("$PWD", "/home");
    check("${PWD}", "/home");
    check("$PWD/$SHELL.x", "/home/bash.x");
    check("${PWD}x", "/homex");
    check("$PWDx", "");
    check("$KOREAN", "한국어");
    check("\"$PWD\"", "/home");
    check("'$PWD'", "$PWD");
    check(r"\$PWD", "$PWD");
    check(r#""\$PWD""#, "$PWD");
    check("$", "$");
    check("a$", "a$");
    check("$ x", "$ x");
    check("$.x", "$.x");
    check("$EMPTY", "");
    check("${unset}", "");
    check("$1x", "x");
    check("$12x", "x");
    check("$@x", "x");
    check("$$PWD", "PWD");
    check("$twice", "2");
    check("$eq", "k=v");
    check("${@}", "");
}

#[test]
fn modifiers_give_defaults_and_alternatives() {
    check("${x:-w}", "abc");
    check("${unset:-w}", "w");
    check("${EMPTY:-w}", "w");
    check("${EMPTY-w}", "");
    check("${unset-w}", "w");
    check("${x:+w}", "w");
    check("${x+w}", "w");
    check("${EMPTY:+w}", "");
    check("${EMPTY+w}", "w");
    check("${unset:+w}", "");
    check("${unset+w}", "");
    check("${unset:-$x}", "abc");
    check("${unset:-${also:-${x}}}", "abc");
    check("${unset:-'a b'}", "a b");
    check("${unset:-\"}\"}", "}");
    check(r"${unset:-a\}b}", "a}b");
    check("${unset:-}", "");
    check("${x:?gone}", "abc");
    check("${x?gone}", "abc");
    check("${EMPTY?gone}", "");
    check_error("${unset:?gone}", "unset: gone");
    check_error("${unset?gone}", "unset: gone");
    check_error("${EMPTY:?gone}", "EMPTY: gone");
    check_error("${unset:?}", "unset: is not allowed to be unset");
    check_error("${unset?}", "unset: is not allowed to be unset");
    check_error("${EMPTY:?}", "EMPTY: is not allowed to be empty");
    check_error("${unset:?$x}", "unset: abc");
    check_error("${unset:-${also:?deep}}", "also: deep");
}

#[test]
fn prefixes_and_suffixes_are_cut() {
    check("${path#usr/}", "local/lib/x.tar.gz");
    check("${path#*/}", "local/lib/x.tar.gz");
    check("${path##*/}", "x.tar.gz");
    check("${path%.*}", "usr/local/lib/x.tar");
    check("${path%%.*}", "usr/local/lib/x");
    check("${path%/*}", "usr/local/lib");
    check("${path%%/*}", "usr");
    check("${path#nothing}", "usr/local/lib/x.tar.gz");
    check("${path%nothing}", "usr/local/lib/x.tar.gz");
    check("${path#?}", "sr/local/lib/x.tar.gz");
    check("${path%?}", "usr/local/lib/x.tar.g");
    check("${path#}", "usr/local/lib/x.tar.gz");
    check_error("${path:#usr/}", "unsupported modifier (:#) in substitution");
    check("${x#$x}", "");
    check("${x##*}", "");
    check("${x#*}", "abc");
    check("${x%%*}", "");
    check("${x%b*}", "a");
    check("${x#[a]}", "abc");
    check(r"${stars#a\*}", "b?c\\d");
    check(r"${stars%\\d}", "a*b?c");
    check("${KOREAN#?}", "국어");
    check("${KOREAN%?}", "한국");
    check("${lines#*b}", "\nab");
    check("${lines##*b}", "\nab");
    check("${unset#x}", "");
    check("${unset%x}", "");
    check_error(r"${x#a\b}", r"invalid pattern (a\b) in substitution: invalid escape '\b'");
}

#[test]
fn patterns_are_replaced_once_or_everywhere() {
    check("${path/r/R}", "usR/local/lib/x.tar.gz");
    check("${path//r/R}", "usR/local/lib/x.taR.gz");
    check(r"${path//\//_}", "usr_local_lib_x.tar.gz");
    check("${path/l*l/-}", "usr/-ib/x.tar.gz");
    check("${path//l?/-}", "usr/-ca--b/x.tar.gz");
    check("${x/b/}", "ac");
    check("${x/b/$PWD}", "a/homec");
    check("${x//*/-}", "-");
    check("${x//?/-}", "---");
    check("${x/$x/-}", "-");
    check("${x/z/-}", "abc");
    check("${lines//*/-}", "-\n-");
    check("${x//a/b/c}", "b/cbc");
    check("${unset//a/b}", "");
    check("${EMPTY//*/-}", "-");
    check("${KOREAN/국/-}", "한-어");
}

/// `docker.txt` was made by one build with these variables.
#[test]
fn values_are_what_docker_makes_of_them() {
    let variables = [
        "x=abc",
        "p=usr/local/lib/x.tar.gz",
        "star=a*b?c",
        r"bs=a\\b\\c",
        "e=",
        "dots=a.b.c",
        "spec=a|b(c+d^",
        "han=한국어",
        "d=",
        "y=Y",
        "z=Z",
        "nl=a b",
    ];
    let of_docker = variables.map(str::to_owned);
    let lines: Vec<&str> = include_str!("docker.txt").lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 70);
    for line in lines {
        let ours = |value: &str| {
            Lexer::new('\\').word(value, &of_docker[..]).map_err(|error| error.reason.to_string())
        };
        match (line.rsplit_once(" => "), line.rsplit_once(" =! ")) {
            (Some((value, result)), _) => assert_eq!(ours(value), Ok(result.to_owned()), "{value}"),
            (_, Some((value, error))) => assert_eq!(ours(value), Err(error.to_owned()), "{value}"),
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn what_is_no_substitution_is_an_error() {
    check_error("'", "unexpected end of statement while looking for matching single-quote");
    check_error("\"", "unexpected end of statement while looking for matching double-quote");
    check_error("a'b", "unexpected end of statement while looking for matching single-quote");
    check_error("${", "syntax error: missing '}'");
    check_error("${}", "syntax error: bad substitution");
    check_error("${:}", "syntax error: bad substitution");
    check_error("${:-x}", "syntax error: bad substitution");
    check_error("${{x}}", "syntax error: bad substitution");
    check_error("${x", "unsupported modifier (\u{fffd}) in substitution");
    check_error("${x:-", "syntax error: missing '}'");
    check_error("${x:-a", "syntax error: missing '}'");
    check_error("${x:-'a}", "syntax error: missing '}'");
    check_error("${x/a}", "syntax error: missing '/' in ${}");
    check_error("${x/a/b", "syntax error: missing '}'");
    check_error("${x^}", "unsupported modifier (^) in substitution");
    check_error("${x:=w}", "unsupported modifier (:=) in substitution");
    check_error("${x:2}", "unsupported modifier (:2) in substitution");
    check_error("${x y}", "unsupported modifier ( ) in substitution");
    let error = Lexer::new('\\').expand("a${}", &NoVariables).expect_err("no substitution");
    assert_eq!(error.to_string(), "failed to process \"a${}\": syntax error: bad substitution");
}

#[test]
fn words_are_split_at_spaces_outside_of_quotes() {
    check_words("", &[]);
    check_words("  ", &[]);
    check_words("a b", &["a", "b"]);
    check_words("  a   b ", &["a", "b"]);
    check_words("'a b' c", &["a b", "c"]);
    check_words("\"a b\" c", &["a b", "c"]);
    check_words(r"a\ b c", &["a b", "c"]);
    check_words("a' 'b", &["a b"]);
    check_words("$s", &["a", "b", "c"]);
    check_words("\"$s\"", &["a b  c"]);
    check_words("x$s", &["xa", "b", "c"]);
    check_words("x${s}y", &["xa", "b", "cy"]);
    check_words("'' a", &["a"]);
    check_words("a '' b", &["a", "b"]);
    check_words("$unset $EMPTY", &[]);
    check_words("80/tcp\t90-92", &["80/tcp", "90-92"]);
}

#[test]
fn options_of_the_lexer_keep_what_they_name() {
    let quotes = Lexer { keeps_quotes: true, ..Lexer::new('\\') };
    let escapes = Lexer { keeps_escapes: true, ..Lexer::new('\\') };
    let unset = Lexer { keeps_unset: true, ..Lexer::new('\\') };
    let heredoc = Lexer::for_heredocs();
    let backquote = Lexer::new('`');
    let check = |lexer, word: &str, expected: &str| {
        assert_eq!(expand_by(lexer, word).expect(word).text, expected, "{word}");
    };
    check(quotes, "a'b c'\"$x\"", "a'b c'\"abc\"");
    check(quotes, r"a\'b", "a'b");
    check(escapes, r"a\'b\$x", r"a\'b\$x");
    check(escapes, r#""a\"b""#, r#"a\"b"#);
    check(
        unset,
        "$x $unset ${unset} ${unset:-w} ${unset//a/b}",
        "abc $unset ${unset} ${unset:-w} ${unset//a/b}",
    );
    check(heredoc, "it's \"$x\" \\$x", "it's \"abc\" $x");
    check(backquote, "`$x \\$x `` \"`\"\"", "$x \\abc ` \"");
}

#[test]
fn variables_that_are_used_and_missed_are_told() {
    let expansion = expand_by(Lexer::new('\\'), "$x ${unset:-$PWD} '$no' ${EMPTY:+$also}").expect("a word");
    assert_eq!(expansion.used.iter().collect::<Vec<_>>(), ["EMPTY", "PWD", "x"]);
    assert_eq!(expansion.unset.iter().collect::<Vec<_>>(), ["also", "unset"]);
}

#[test]
fn what_nests_or_grows_without_end_is_refused() {
    let deep = "${a:-".repeat(1000) + &"}".repeat(1000);
    check_error(&deep, &Reason::TooDeep.to_string());
    let long = "a".repeat(2000);
    let variables = [format!("long={long}")];
    let cube = "${long//a/${long//a/$long}}";
    let error = Lexer::new('\\').expand(cube, &variables[..]).expect_err("too long");
    assert_eq!(error.reason, Reason::TooLong);
}

proptest::proptest! {
    #[test]
    fn expansion_of_anything_ends(word in r#"[ab$\{\}:\-+?#%/'"\\* é]{0,40}"#) {
        let _ = expand_by(Lexer::new('\\'), &word);
        let _ = expand_by(Lexer::for_heredocs(), &word);
    }

    #[test]
    fn text_without_special_characters_is_its_own_expansion(word in r"[^$'\x22\\]{0,40}") {
        let expansion = expand_by(Lexer::new('\\'), &word).expect("nothing special");
        assert_eq!(expansion.text, word);
        assert_eq!(expansion.words.join(" "), word.split_whitespace().collect::<Vec<_>>().join(" "));
    }

    #[test]
    fn single_quotes_protect_everything(word in r"[^']{0,40}") {
        assert_eq!(expand_by(Lexer::new('\\'), &format!("'{word}'")).expect("quoted").text, word);
    }

    #[test]
    fn a_cut_prefix_is_a_prefix(value in "[ab\n]{0,8}", pattern in "[ab*?]{0,5}") {
        let variables = [format!("v={value}")];
        let cut = |form: String| Lexer::new('\\').word(&form, &variables[..]).expect("a word");
        let (short, long) = (cut(format!("${{v#{pattern}}}")), cut(format!("${{v##{pattern}}}")));
        assert!(value.ends_with(&short) && short.ends_with(&long), "{short:?} {long:?}");
        let (short, long) = (cut(format!("${{v%{pattern}}}")), cut(format!("${{v%%{pattern}}}")));
        assert!(value.starts_with(&short) && short.starts_with(&long), "{short:?} {long:?}");
    }
}
