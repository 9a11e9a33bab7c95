//! Heredocs and words: any text that doesn't hold its own end comes out as it went in; expansion ends.
#![no_main]

use build::dockerfile::ast::Kind;
use build::dockerfile::expand::Lexer;
use build::dockerfile::parse;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|text: &str| {
    let variables = BTreeMap::from([("a".to_owned(), "b c/d.e".to_owned()), ("e".to_owned(), String::new())]);
    for lexer in [Lexer::new('\\'), Lexer::new('`'), Lexer::for_heredocs()] {
        let _ = lexer.expand(text, &variables);
    }
    if text.split('\n').any(|line| line.trim_end_matches('\r') == "END") {
        return;
    }
    let file = parse(&format!("FROM x\nCOPY <<END <<'END' /a\n{text}\nEND\n{text}\nEND\nRUN b\n"));
    let file = file.expect("a file");
    let [copy, run] = &file.stages[0].instructions[..] else { panic!("{file:?}") };
    assert!(matches!(run.kind, Kind::Run(_)));
    let Kind::Copy(copy) = &copy.kind else { panic!("{copy:?}") };
    for heredoc in &copy.heredocs {
        assert_eq!(heredoc.content, format!("{text}\n"));
        assert_eq!(&file.text[heredoc.span.start..heredoc.span.end], heredoc.content);
    }
});
