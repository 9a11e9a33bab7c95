//! Giving images names and taking them away.

use super::open_store;
use crate::{Error, Home, events, find};
use types::reference::Reference;

/// What `rmi` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone, in docker's short form.
    pub untagged: Vec<String>,
    /// The image that is gone, then the chain ids of layers that no other image has, the topmost first.
    pub deleted: Vec<String>,
}

/// A name that a user gives to an image: no digest in it.
pub(crate) fn new_name(text: &str) -> Result<Reference, Error> {
    let reference = Reference::parse(text).map_err(store::Error::Reference)?;
    if reference.digest().is_some() {
        let (text, reason) = (text.to_owned(), "a name for an image can't say its digest");
        return Err(store::Error::Reference(types::reference::Invalid { text, reason }).into());
    }
    Ok(reference)
}

/// Gives the image called `source` the name `target`.
pub fn tag(home: &Home, source: &str, target: &str) -> Result<(), Error> {
    let target = new_name(target)?;
    let store = open_store(home)?;
    let image = store.resolve_image(source)?;
    store.tag(&image.id, &target)?;
    let id = image.id.to_string();
    events::images(home, "tag", [(id.as_str(), target.familiar().as_str())]);
    Ok(())
}

/// Removes a name, and the image with its last one. With `force` several names of an id go together; an image that
/// containers were made from loses its names, one that a running container uses only where a name is given.
///
/// Errors: as [`store::Store::remove_image`]; [`Error::Refused`] where a running container uses it.
pub fn remove(home: &Home, given: &str, force: bool) -> Result<Removed, Error> {
    let store = open_store(home)?;
    let image = store.resolve_image(given)?;
    let id = image.id.to_string();
    // Those that are removed with their end have no row; and none that runs can be left without its files.
    let is_user = |container: &find::Container| container.config.image_id.as_ref() == Some(&id);
    let by_name = Reference::parse(given).is_ok_and(|name| image.references.contains(&name.to_string()));
    let only_a_name = by_name && image.references.len() > 1;
    let familiar = |name: String| Reference::parse(&name).map(|known| known.familiar()).unwrap_or(name);
    if !only_a_name
        && let Some(user) = find::present(home).into_iter().find(is_user)
        && matches!(user.state, find::State::Running(_) | find::State::Restarting(_) | find::State::Starting)
    {
        if by_name && force {
            let untagged: Vec<String> = store.untag_image(&image.id)?.into_iter().map(familiar).collect();
            events::images(home, "untag", untagged.iter().map(|_| (id.as_str(), id.as_str())));
            return Ok(Removed { untagged, deleted: Vec::new() });
        }
        let name = user.config.name;
        return Err(Error::Refused {
            what: format!("remove image {given}"),
            why: format!("container {name} runs from it"),
            hint: format!("berth rm -f {name}"),
        });
    }
    let removed = store.remove_image(given, force)?;
    let tell = |action| events::images(home, action, [(id.as_str(), id.as_str())]);
    removed.untagged.iter().for_each(|_| tell("untag"));
    removed.deleted.iter().for_each(|_| tell("delete"));
    let layers = removed.deleted_layers.into_iter().map(|chain| chain.to_string());
    Ok(Removed {
        untagged: removed.untagged.into_iter().map(familiar).collect(),
        deleted: removed.deleted.map(|id| id.to_string()).into_iter().chain(layers).collect(),
    })
}
