//! Hashes by which a container, network or volume is known to be as the project wants it. They are docker compose's own,
//! to the byte, so that each finds the other's work unchanged. Source: docker compose's pkg/compose/hash.go.

use sha2::{Digest as _, Sha256};

use crate::field::Field as _;
use crate::model::{Network, Service, Volume};
use crate::out::{Form, Out};

impl Service {
    /// The attributes that make a container another one: not how its image comes to be, how many there are, or what it
    /// waits for.
    pub fn container_part(&self) -> Service {
        let mut service = self.clone();
        service.build = None;
        service.pull_policy.clear();
        service.pull_refresh_after.clear();
        service.scale = None;
        if let Some(deploy) = &mut service.deploy {
            deploy.replicas = None;
        }
        service.depends_on.clear();
        service.profiles.clear();
        service
    }

    /// Its attributes as JSON has them.
    pub fn out(&self, form: Form) -> Out {
        crate::field::Field::out(self, form)
    }

    /// The hash of what makes a container another one: `com.docker.compose.config-hash`.
    pub fn hash(&self) -> String {
        sha256(&self.container_part().out(Form::Json))
    }
}

impl Network {
    /// The hash of a network.
    pub fn hash(&self) -> String {
        sha256(&self.out(Form::Json))
    }
}

impl Volume {
    /// The hash of a volume.
    pub fn hash(&self) -> String {
        let mut volume = self.clone();
        if volume.driver.is_empty() {
            "local".clone_into(&mut volume.driver);
        }
        sha256(&volume.out(Form::Json))
    }
}

fn sha256(out: &Out) -> String {
    Sha256::digest(out.json(false)).iter().map(|byte| format!("{byte:02x}")).collect()
}
