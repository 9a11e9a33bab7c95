//! `berth tree`: a container drawn for somebody who hasn't seen one from both sides.

use engine::inert;
use engine::pieces::{CgroupRow, MapRow, NamespaceRow, Process, Role, Tree, Whose};
use engine::request::NamespaceType;

use super::table::{align, ellipsis};
use crate::failure::Failure;

/// Longest command that is shown, in characters.
const COMMAND_CHARS_MAX: usize = 100;

/// Deepest level that is drawn as such; what is deeper stands there too.
const DEPTH_DRAWN_MAX: usize = 24;

/// The lines of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    child: &'static str,
    last: &'static str,
    through: &'static str,
    gap: &'static str,
}

impl Lines {
    /// Of box characters, for terminals that show them.
    pub const BOX: Lines = Lines { child: "├─ ", last: "└─ ", through: "│  ", gap: "   " };
    /// Of ASCII.
    pub const ASCII: Lines = Lines { child: "|- ", last: "`- ", through: "|  ", gap: "   " };

    /// Those for a terminal or not, in a locale as `LC_ALL`, `LC_CTYPE` and `LANG` (the first that is set counts) name
    /// it. Source: locale(7).
    pub fn of(terminal: bool, locale: [Option<String>; 3]) -> Lines {
        let locale = locale.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_default();
        let utf8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        if terminal && utf8 { Lines::BOX } else { Lines::ASCII }
    }
}

fn kind_words(kind: NamespaceType) -> (&'static str, &'static str) {
    match kind {
        NamespaceType::User => ("user", "user and group ids, and what root may do"),
        NamespaceType::Mount => ("mount", "which file systems are mounted where"),
        NamespaceType::Pid => ("pid", "which processes there are"),
        NamespaceType::Network => ("network", "interfaces, addresses, ports"),
        NamespaceType::Uts => ("uts", "host name"),
        NamespaceType::Ipc => ("ipc", "shared memory, message queues"),
        NamespaceType::Cgroup => ("cgroup", "where the tree of control groups begins"),
        NamespaceType::Time => ("time", "clocks that count from the boot"),
    }
}

fn whose_words(whose: &Whose) -> String {
    match whose {
        Whose::Own => "its own".to_owned(),
        Whose::Host => "the host's".to_owned(),
        Whose::Shared(names) => format!("shared with container {}", inert(&names.join(", "))),
    }
}

fn namespaces(rows: &[NamespaceRow]) -> Vec<String> {
    let mut lines = vec!["TYPE\tINODE\tWHOSE\tWHAT IT SEPARATES".to_owned()];
    lines.extend(rows.iter().map(|row| {
        let (name, what) = kind_words(row.kind);
        format!("{name}\t{}\t{}\t{what}", row.inode, whose_words(&row.whose))
    }));
    lines
}

fn range(first: u32, count: u32) -> String {
    match count {
        1 => first.to_string(),
        _ => format!("{first}-{}", u64::from(first) + u64::from(count) - 1),
    }
}

fn maps(tree: &Tree) -> Vec<String> {
    let mut lines = vec!["IDS\tIN THE CONTAINER\tON THE HOST\tHOW MANY\tRESERVED FOR".to_owned()];
    let line = |what: &str, row: &MapRow| {
        let owner = row.owner.as_deref().map_or_else(|| "-".into(), inert);
        format!(
            "{what}\t{}\t{}\t{}\t{owner}",
            range(row.inside, row.count),
            range(row.host, row.count),
            row.count
        )
    };
    lines.extend(tree.users.iter().map(|row| line("users", row)));
    lines.extend(tree.groups.iter().map(|row| line("groups", row)));
    lines
}

fn cgroups(rows: &[CgroupRow]) -> Vec<String> {
    let mut lines = vec!["CONTROLLERS\tPATH".to_owned()];
    lines.extend(rows.iter().map(|row| {
        let controllers = if row.controllers.is_empty() { "(version 2)" } else { &row.controllers };
        format!("{}\t{}", inert(controllers), inert(&row.path))
    }));
    lines
}

fn command(process: &Process) -> String {
    let shown = ellipsis(&inert(&process.command), COMMAND_CHARS_MAX);
    let role = match process.role {
        Some(Role::Holder) => "  (berth: made the container, waits for its end)",
        Some(Role::Keeper) => "  (berth: keeps its output, records its end)",
        _ if process.state == 'Z' => "  (ended, its parent hasn't asked how)",
        _ => "",
    };
    format!("{shown}{role}")
}

/// For each process, whether no further one has the same parent.
fn last_ones(processes: &[Process]) -> Vec<bool> {
    let mut open: Vec<bool> = Vec::new();
    let mut last = vec![false; processes.len()];
    for (n, process) in processes.iter().enumerate().rev() {
        let depth = process.depth.min(DEPTH_DRAWN_MAX);
        open.resize(depth + 1, false);
        last[n] = !std::mem::replace(&mut open[depth], true);
    }
    last
}

fn processes(processes: &[Process], lines: Lines) -> Vec<String> {
    let or_none = |id: Option<String>| id.unwrap_or_else(|| "-".to_owned());
    let mut shown = vec!["PID ON HOST\tPID INSIDE\tUSER ON HOST\tUSER INSIDE\tCOMMAND".to_owned()];
    let mut trunk: Vec<&str> = Vec::new();
    for (process, last) in processes.iter().zip(last_ones(processes)) {
        let depth = process.depth.min(DEPTH_DRAWN_MAX);
        trunk.truncate(depth.saturating_sub(1));
        let branch = match (depth, last) {
            (0, _) => "",
            (_, true) => lines.last,
            (_, false) => lines.child,
        };
        shown.push(format!(
            "{}\t{}\t{}\t{}\t{}{branch}{}",
            process.pid,
            or_none(process.inside_pid.map(|pid| pid.to_string())),
            process.uid,
            or_none(process.inside_uid.map(|uid| uid.to_string())),
            trunk.concat(),
            command(process)
        ));
        if depth > 0 {
            trunk.push(if last { lines.gap } else { lines.through });
        }
    }
    shown
}

/// The container, in four sections.
pub fn text(tree: &Tree, lines: Lines) -> String {
    let short = tree.id.get(..12).unwrap_or(&tree.id);
    let mut text = format!("Container {} ({short}), made of {}\n", inert(&tree.name), inert(&tree.image));
    let sections = [
        ("Namespaces: what the container has a view of its own of", namespaces(&tree.namespaces)),
        ("Ids: which user of the host each user of the container is", maps(tree)),
        ("Control groups: where its resources are counted and limited", cgroups(&tree.cgroups)),
        ("Processes: each seen from the host and from inside", processes(&tree.processes, lines)),
    ];
    for (heading, rows) in sections {
        text += &format!("\n{heading}\n");
        for row in align(&rows).lines() {
            text += &format!("  {}\n", row.trim_end());
        }
    }
    if tree.cut {
        text += "  and more\n";
    }
    text
}

/// The container as JSON, all in ASCII: a terminal may act on other characters.
pub fn json(tree: &Tree) -> Result<String, Failure> {
    let json =
        serde_json::to_string_pretty(tree).map_err(|error| Failure::new(format!("write JSON: {error}")))?;
    let mut text = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match c {
            '\n' | ' '..='~' => text.push(c),
            _ => text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(depth: usize, pid: i32, inside: Option<i32>, role: Option<Role>, command: &str) -> Process {
        Process {
            depth,
            pid,
            parent: pid - 1,
            inside_pid: inside,
            uid: 7000,
            inside_uid: inside.map(|_| 0),
            state: 'S',
            role,
            command: command.to_owned(),
        }
    }

    fn tree() -> Tree {
        let map = MapRow { inside: 0, host: 7000, count: 65_536, owner: Some("web".to_owned()) };
        Tree {
            id: "0123456789abcdef".repeat(4),
            name: "web".to_owned(),
            image: "@host".to_owned(),
            namespaces: vec![
                NamespaceRow { kind: NamespaceType::User, inode: 4_026_532_000, whose: Whose::Own },
                NamespaceRow { kind: NamespaceType::Network, inode: 1, whose: Whose::Host },
                NamespaceRow {
                    kind: NamespaceType::Pid,
                    inode: 2,
                    whose: Whose::Shared(vec!["db".to_owned()]),
                },
            ],
            users: vec![map.clone()],
            groups: vec![MapRow { count: 1, owner: None, ..map }],
            cgroups: vec![CgroupRow { controllers: String::new(), path: "/berth/x".to_owned() }],
            processes: vec![
                process(0, 10, None, Some(Role::Holder), "berth-holder"),
                process(1, 11, Some(1), Some(Role::First), "sh -c x"),
                process(2, 13, Some(2), None, "sleep 1"),
                process(2, 14, Some(3), None, "a\x1b]0;t\x07\n\u{202e}b"),
                process(1, 12, None, Some(Role::Keeper), "berth-keeper"),
            ],
            cut: false,
        }
    }

    #[test]
    fn a_newcomer_can_read_it() {
        assert_eq!(
            text(&tree(), Lines::BOX),
            "Container web (0123456789ab), made of @host\n\
             \n\
             Namespaces: what the container has a view of its own of\n\
             \x20 TYPE      INODE        WHOSE                      WHAT IT SEPARATES\n\
             \x20 user      4026532000   its own                    user and group ids, and what root may do\n\
             \x20 network   1            the host's                 interfaces, addresses, ports\n\
             \x20 pid       2            shared with container db   which processes there are\n\
             \n\
             Ids: which user of the host each user of the container is\n\
             \x20 IDS       IN THE CONTAINER   ON THE HOST   HOW MANY   RESERVED FOR\n\
             \x20 users     0-65535            7000-72535    65536      web\n\
             \x20 groups    0                  7000          1          -\n\
             \n\
             Control groups: where its resources are counted and limited\n\
             \x20 CONTROLLERS   PATH\n\
             \x20 (version 2)   /berth/x\n\
             \n\
             Processes: each seen from the host and from inside\n\
             \x20 PID ON HOST   PID INSIDE   USER ON HOST   USER INSIDE   COMMAND\n\
             \x20 10            -            7000           -             berth-holder  (berth: made the container, waits for its end)\n\
             \x20 11            1            7000           0             ├─ sh -c x\n\
             \x20 13            2            7000           0             │  ├─ sleep 1\n\
             \x20 14            3            7000           0             │  └─ a\\u{1b}]0;t\\u{7}\\u{a}\\u{202e}b\n\
             \x20 12            -            7000           -             └─ berth-keeper  (berth: keeps its output, records its end)\n"
        );
    }

    #[test]
    fn json_is_inert_and_complete() {
        let json = json(&tree()).expect("plain data");
        assert!(json.is_ascii() && !json.contains(['\x1b', '\x07', '\u{7f}']), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(value["processes"][3]["command"], "a\x1b]0;t\x07\n\u{202e}b");
        assert_eq!(value["namespaces"][2]["with"][0], "db");
        assert_eq!(value["namespaces"][0]["whose"], "own");
        assert_eq!(value["processes"][1]["inside_pid"], 1);
    }

    #[test]
    fn lines_suit_the_terminal() {
        let locale = |text: &str| [None, Some(String::new()), Some(text.to_owned())];
        assert_eq!(Lines::of(true, locale("C.UTF-8")), Lines::BOX);
        assert_eq!(Lines::of(true, locale("de_DE.utf8")), Lines::BOX);
        for plain in [locale("C"), locale("POSIX"), [None, None, None]] {
            assert_eq!(Lines::of(true, plain), Lines::ASCII);
        }
        assert_eq!(Lines::of(true, [Some("C".to_owned()), None, Some("C.UTF-8".to_owned())]), Lines::ASCII);
        assert_eq!(Lines::of(false, locale("C.UTF-8")), Lines::ASCII);
    }

    #[test]
    fn deep_trees_stay_narrow() {
        let mut tree = tree();
        tree.processes = (0..5000).map(|n| process(n as usize, n + 1, Some(n + 1), None, "x")).collect();
        let text = text(&tree, Lines::ASCII);
        assert!(text.lines().all(|line| line.chars().count() < 200));
    }
}
