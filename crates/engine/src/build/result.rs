//! The image at the end of a build.

use super::events::{Event, Told};
use super::request::BuildRequest;
use crate::images::{self, open_store};
use crate::{Error, Home};
use ::build::lower::{Line, Lowered};
use ::build::op::{Exec, Tree};
use ::build::solve::Solved;
use store::{Configuration, Store};
use types::digest::{ChainId, ImageId};
use types::image::ImageConfig;
use types::image::config::{Execution, History};
use types::moment::{parse_rfc3339, rfc3339};

/// What histories say of lines that a build made. Source: BuildKit.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// The tree of the result.
pub(super) fn tree(lowered: &Lowered, solved: &[Option<Solved>]) -> Tree {
    solved[lowered.target.0].as_ref().map_or(Tree::Scratch, |own| own.tree.clone())
}

/// The result's configuration, as an image's.
pub(super) fn configuration(
    home: &Home,
    request: &BuildRequest,
    lowered: &Lowered,
    solved: &[Option<Solved>],
) -> Result<Configuration, Error> {
    let chain = chain_of(&tree(lowered, solved));
    configuration_of(&open_store(home)?, request, lowered, solved, chain.as_ref())
}

/// An image that stays only if it was there before.
#[derive(Debug)]
pub(super) struct Unnamed {
    /// Its id.
    pub id: String,
    was_there: bool,
}

impl Unnamed {
    pub fn make(home: &Home, tree: &Tree, config: &Configuration) -> Result<Unnamed, Error> {
        let store = open_store(home)?;
        let id = format!("sha256:{}", types::digest::Sha256::of(&config.bytes).hex());
        let was_there = store.resolve_image(&id).is_ok();
        store.name_image(chain_of(tree).as_ref(), config, &[])?;
        Ok(Unnamed { id, was_there })
    }

    pub fn forget(self, home: &Home) -> Result<(), Error> {
        if !self.was_there {
            open_store(home)?.remove_image(&self.id, false)?;
        }
        Ok(())
    }
}

/// Names the result: the image's id.
pub(super) fn name(
    home: &Home,
    names: &[String],
    tree: &Tree,
    config: &Configuration,
    told: &mut Told<'_>,
) -> Result<String, Error> {
    let chain = chain_of(tree);
    let references = names.iter().map(|tag| images::name::new_name(tag)).collect::<Result<Vec<_>, _>>()?;
    let store = open_store(home)?;
    told.work("exporting to image", |told, id| {
        let made = store.name_image(chain.as_ref(), config, &references)?;
        told.tell(&Event::Status { id, text: "exporting layers done".to_owned() });
        told.tell(&Event::Status { id, text: format!("writing image {made} done") });
        for reference in &references {
            told.tell(&Event::Status { id, text: format!("naming to {reference} done") });
        }
        Ok(made.to_string())
    })
}

fn chain_of(tree: &Tree) -> Option<ChainId> {
    match tree {
        Tree::Layers(chain) => ChainId::parse(chain),
        _ => None,
    }
}

fn configuration_of(
    store: &Store,
    request: &BuildRequest,
    lowered: &Lowered,
    solved: &[Option<Solved>],
    chain: Option<&ChainId>,
) -> Result<Configuration, Error> {
    let epoch = request.options.epoch.map(|seconds| seconds.saturating_mul(1_000_000_000));
    let mut config = lowered.config.clone();
    let layers = chain.map_or_else(|| Ok(Vec::new()), |chain| store.layers_of(chain))?;
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff.digest()).collect();
    // A line that made no layer is as old as the one before it: a build in which nothing changed makes the same image.
    let mut now = lowered.base_created.clone();
    for line in &lowered.history {
        config.history.push(match line {
            Line::Inherited(line) => line.clone(),
            Line::Own { created_by, step } => {
                let record = step.and_then(|step| solved[step.0].as_ref()?.record.as_ref());
                if let Some(record) = record {
                    now = Some(rfc3339(record.created_ns));
                }
                if let Some(epoch) = epoch {
                    now = Some(rfc3339(epoch));
                }
                History {
                    created: now.clone(),
                    created_by: created_by.clone(),
                    comment: COMMENT.to_owned(),
                    author: String::new(),
                    empty_layer: record.is_none_or(|record| record.made.is_empty),
                }
            }
        });
    }
    config.created = now;
    Ok(as_bytes(&config))
}

fn as_bytes(config: &ImageConfig) -> Configuration {
    let created_ns = config.created.as_deref().and_then(parse_rfc3339).unwrap_or_default();
    // Plain data always serialises.
    Configuration { bytes: serde_json::to_vec(config).unwrap_or_default(), created_ns }
}

/// An image without a name of the state before a step, with the step's surroundings.
pub(super) fn state(home: &Home, chain: &str, exec: &Exec) -> Result<String, Error> {
    let store = open_store(home)?;
    let chain = ChainId::parse(chain);
    let layers = chain.as_ref().map_or_else(|| Ok(Vec::new()), |chain| store.layers_of(chain))?;
    let platform = images::host_platform();
    let mut config = ImageConfig {
        architecture: platform.architecture,
        os: platform.os,
        config: Execution {
            env: exec.env.clone(),
            user: exec.user.clone(),
            working_dir: exec.working_dir.clone(),
            ..Execution::default()
        },
        ..ImageConfig::default()
    };
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff.digest()).collect();
    let id: ImageId = store.name_image(chain.as_ref(), &as_bytes(&config), &[])?;
    let id = id.to_string();
    Ok(id.trim_start_matches("sha256:").chars().take(12).collect())
}
