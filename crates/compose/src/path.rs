//! Where in a compose file a value stands, by its keys.

/// How many levels are kept. The specification's deepest attribute is at the ninth.
const DEPTH: usize = 12;

/// The keys that lead to a value. `[]` stands for any item of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path<'a> {
    keys: [&'a str; DEPTH],
    depth: usize,
}

impl<'a> Path<'a> {
    /// The path of a whole file.
    pub fn root() -> Path<'static> {
        Path::default()
    }

    /// The path of a value in this one.
    pub fn next<'b>(self, key: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        let mut next: Path<'b> = self;
        if let Some(place) = next.keys.get_mut(next.depth) {
            *place = key;
        }
        next.depth += 1;
        next
    }

    /// The path of the items of this list.
    pub fn items(self) -> Path<'a> {
        self.next("[]")
    }

    /// The keys; none of a path that is deeper than any attribute is.
    pub fn keys(&self) -> &[&'a str] {
        self.keys.get(..self.depth).unwrap_or_default()
    }
}

/// `services.web.ports[].target`
impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = &self.keys[..self.depth.min(DEPTH)];
        f.write_str(&keys.join(".").replace(".[]", "[]"))
    }
}
