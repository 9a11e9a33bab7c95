//! A project drawn as text: services by when they start, with what they need, publish and keep.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::{Mount, Port, Project, Service};

impl Project {
    /// The drawing: services in the order in which they start, those that start together side by side in one level.
    pub fn graph(&self) -> String {
        let mut text = format!("{}\n", self.name);
        let mut levels: BTreeMap<usize, Vec<&String>> = BTreeMap::new();
        let order = self.start_order();
        let mut level_of: BTreeMap<&str, usize> = BTreeMap::new();
        for name in &order {
            let service = &self.services[name];
            let below = service.depends_on.keys().filter_map(|other| level_of.get(other.as_str()));
            let level = below.max().map_or(0, |level| level + 1);
            level_of.insert(name, level);
            levels.entry(level).or_default().push(name);
        }
        let last = levels.keys().next_back().copied().unwrap_or_default();
        for (level, names) in &levels {
            let (corner, bar) = if *level == last { ("└─", "  ") } else { ("├─", "│ ") };
            let when = if *level == 0 { "first".to_owned() } else { format!("after that, {level}") };
            let when = if levels.len() == 1 { "together".to_owned() } else { when };
            _ = writeln!(text, "{corner} {when}");
            for (index, name) in names.iter().enumerate() {
                let is_last = index + 1 == names.len();
                self.draw(&mut text, bar, is_last, name);
            }
        }
        for (title, names) in [
            (
                "networks",
                self.networks.values().map(|it| (it.name.as_str(), it.external)).collect::<Vec<_>>(),
            ),
            ("volumes", self.volumes.values().map(|it| (it.name.as_str(), it.external)).collect()),
        ] {
            if !names.is_empty() {
                let names = names.into_iter().map(|(name, external)| match external {
                    true => format!("{name} (external)"),
                    false => name.to_owned(),
                });
                _ = writeln!(text, "{title}: {}", names.collect::<Vec<_>>().join(", "));
            }
        }
        text
    }

    fn draw(&self, text: &mut String, bar: &str, is_last: bool, name: &str) {
        let service = &self.services[name];
        let (corner, inner) = if is_last { ("└─", "   ") } else { ("├─", "│  ") };
        let count = match service.replicas() {
            1 => String::new(),
            count => format!(" ×{count}"),
        };
        _ = writeln!(text, "{bar} {corner} {name}{count}  {}", service.image_name(&self.name, name));
        let lines = [
            ("needs", needs(service)),
            ("ports", service.ports.iter().map(port).collect()),
            ("networks", service.networks.keys().cloned().collect()),
            ("mounts", service.volumes.iter().map(mount).collect()),
        ];
        for (title, parts) in lines.into_iter().filter(|(_, parts): &(_, Vec<String>)| !parts.is_empty()) {
            _ = writeln!(text, "{bar} {inner}  {title} {}", parts.join(", "));
        }
    }
}

fn needs(service: &Service) -> Vec<String> {
    let condition = |condition: &str| match condition {
        "service_healthy" => " (healthy)",
        "service_completed_successfully" => " (completed)",
        _ => "",
    };
    service.depends_on.iter().map(|(name, how)| format!("{name}{}", condition(&how.condition))).collect()
}

fn port(port: &Port) -> String {
    let host = if port.host_ip.is_empty() { String::new() } else { format!("{}:", port.host_ip) };
    let protocol = if port.protocol == "tcp" { String::new() } else { format!("/{}", port.protocol) };
    match port.published.as_str() {
        "" => format!("any→{}{protocol}", port.target),
        published => format!("{host}{published}→{}{protocol}", port.target),
    }
}

fn mount(mount: &Mount) -> String {
    let source = if mount.source.is_empty() { &mount.kind } else { &mount.source };
    format!("{source}→{}{}", mount.target, if mount.read_only { " (ro)" } else { "" })
}

#[cfg(test)]
mod tests {
    use crate::files::Memory;
    use crate::request::Request;

    #[test]
    fn a_project_is_drawn_in_the_order_of_its_start() {
        let mut files = Memory::default();
        let text = "services:\n  web: {image: nginx, scale: 2, ports: ['8080:80', '53:53/udp'], depends_on: {api: \
                    {condition: service_healthy}}}\n  api: {build: ., depends_on: [db]}\n  db: {image: pg, volumes: \
                    ['data:/d', './init:/i:ro']}\nvolumes: {data: }\n";
        files.texts.insert("/demo/compose.yaml".into(), text.into());
        let request = Request { current_dir: "/demo".into(), ..Request::default() };
        let graph = request.load(&files).unwrap().project.graph();
        assert_eq!(
            graph,
            "demo\n\
             ├─ first\n\
             │  └─ db  pg\n\
             │       networks default\n\
             │       mounts data→/d, /demo/init→/i (ro)\n\
             ├─ after that, 1\n\
             │  └─ api  demo-api\n\
             │       needs db\n\
             │       networks default\n\
             └─ after that, 2\n   \
             └─ web ×2  nginx\n        \
             needs api (healthy)\n        \
             ports 8080→80, 53→53/udp\n        \
             networks default\n\
             networks: demo_default\nvolumes: demo_data\n"
        );
    }
}
