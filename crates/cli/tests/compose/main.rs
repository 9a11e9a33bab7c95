//! Projects of several services by their effect: what runs, under which names and labels, and what is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail the test, and look at files with std"
)]

mod config;
mod up;

use std::path::PathBuf;
use testkit::image::Image;
use testkit::{Cmd, Host};

/// A host with the image `box`, and a project in a directory of its own.
struct Project {
    host: Host,
    dir: PathBuf,
}

impl Project {
    /// A project called `demo` of these services, without the image.
    fn of(yaml: &str) -> Project {
        let host = Host::new();
        let dir = host.path("demo");
        std::fs::create_dir_all(&dir).unwrap();
        let project = Project { host, dir };
        project.write("compose.yaml", yaml);
        project
    }

    /// The same with the image `box`: busybox.
    fn with_image(yaml: &str) -> Project {
        let project = Project::of(yaml);
        let path = project.host.path("load.tar");
        Image::busybox().write_docker_archive(&path, &["box"]);
        project.host.berth(["load", "-q", "-i"]).arg(&path).text();
        std::fs::remove_file(path).unwrap();
        project
    }

    /// Writes a file of the project.
    fn write(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `berth compose WORDS` in the project's directory.
    fn compose(&self, words: &str) -> Cmd {
        let words = ["compose"].into_iter().chain(words.split_whitespace());
        self.host.berth(words).cwd(&self.dir)
    }

    /// What a template shows of a container or network.
    fn shows(&self, name: &str, template: &str) -> String {
        self.host.berth(["inspect", "-f", template, name]).text()
    }

    /// What a line in a container's shell prints.
    fn exec(&self, container: &str, script: &str) -> String {
        self.host.berth(["exec", container, "sh", "-c", script]).text()
    }

    /// Removes all that the project has.
    fn down(&self) {
        self.compose("down -v -t 0 --remove-orphans").run().ok();
        let left = self.host.berth(["ps", "-aq"]).text();
        assert_eq!(left, "", "containers are left");
        assert!(!self.host.berth(["volume", "ls", "-q"]).text().contains("demo"));
        assert!(!self.host.berth(["network", "ls", "--format", "{{.Name}}"]).text().contains("demo"));
    }
}
