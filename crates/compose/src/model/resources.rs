//! Networks, volumes, secrets, configs and models of a project.

use super::Pairs;
use crate::field::{Decoder, Field, model};
use crate::node::Node;
use crate::out::{Form, Out};

model! {
    /// A network of a project.
    pub struct Network {
        /// Its name for the engine.
        name: String,
        /// What makes it, `bridge` unless said otherwise.
        driver: String,
        /// What its driver is told.
        driver_opts: Pairs,
        /// How its addresses are given out.
        ipam: Ipam,
        /// Whether it is made by somebody else.
        external: bool,
        /// Whether it leads nowhere but to itself.
        internal: bool,
        /// Whether single containers may join it.
        attachable: bool,
        /// Its labels.
        labels: Pairs,
        /// Whether it has IPv4 addresses.
        enable_ipv4: Option<bool>,
        /// Whether it has IPv6 addresses.
        enable_ipv6: Option<bool>,
    }

    /// How a network gives out addresses.
    pub struct Ipam {
        /// What gives them out.
        driver: String,
        /// Where they are from.
        config: Vec<Pool>,
    }

    /// A range of addresses.
    pub struct Pool {
        /// The subnet, as in 10.0.0.0/8.
        subnet: String,
        /// The address of the gateway.
        gateway: String,
        /// The part of the subnet that addresses are given from.
        ip_range: String,
        /// Addresses that are taken, by host name.
        aux_addresses: Pairs,
    }

    /// A volume of a project.
    pub struct Volume {
        /// Its name for the engine.
        name: String,
        /// What makes it, `local` unless said otherwise.
        driver: String,
        /// What its driver is told.
        driver_opts: Pairs,
        /// Whether it is made by somebody else.
        external: bool,
        /// Its labels.
        labels: Pairs,
    }

    /// A language model, which isn't supported here.
    pub struct Model {
        /// Its name.
        name: String,
        /// What it is.
        model: String,
        /// How much it remembers.
        context_size: i64,
        /// What its engine is told.
        runtime_flags: Vec<String>,
    }

    /// The parts of secrets and configs, which are the same.
    pub struct FileObject {
        /// Its name.
        name: String,
        /// The file that has its content.
        file: String,
        /// The variable that has its content.
        environment: String,
        /// Its content.
        content: String,
        /// Whether it is kept by somebody else.
        external: bool,
        /// Its labels.
        labels: Pairs,
        /// What keeps it.
        driver: String,
        /// What its driver is told.
        driver_opts: Pairs,
        /// What makes its content out of a template.
        template_driver: String,
    }
}

/// A secret of a project. Its content is never printed.
#[derive(Clone, Default, PartialEq)]
pub struct Secret(pub FileObject);

/// Shows everything but the content.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secret").field(&FileObject { content: String::new(), ..self.0.clone() }).finish()
    }
}

impl Field for Secret {
    fn decode(node: &Node, decoder: &mut Decoder) -> Secret {
        let mut object = FileObject::decode(node, decoder);
        if let Some(content) = node.get(crate::resolve::SECRET_CONTENT) {
            object.content = content.plain();
        }
        Secret(object)
    }

    fn out(&self, form: Form) -> Out {
        FileObject { content: String::new(), ..self.0.clone() }.out(form)
    }

    fn is_left_out(&self, _: Form) -> bool {
        false
    }
}

/// A config of a project. Content that came from the environment isn't printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config(pub FileObject);

impl Field for Config {
    fn decode(node: &Node, decoder: &mut Decoder) -> Config {
        Config(FileObject::decode(node, decoder))
    }

    fn out(&self, form: Form) -> Out {
        let mut object = self.0.clone();
        if !object.environment.is_empty() {
            object.content.clear();
        }
        object.out(form)
    }

    fn is_left_out(&self, _: Form) -> bool {
        false
    }
}
