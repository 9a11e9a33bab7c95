//! Names of images, and removing them.

use crate::archive::{file, tar};
use crate::support::{Scratch, container, reference};
use store::{Durability, Error};

#[test]
fn images_are_found_by_name_id_and_prefix() {
    let scratch = Scratch::new();
    let name = reference("app");
    let id = scratch.store.import(&mut &tar(&[file("f", "1")])[..], Some(&name), "test", &|_| {}).unwrap();
    let hex = id.hex();
    for given in ["app", "app:latest", "docker.io/library/app", &id.to_string(), &hex, &hex[..12], &hex[..1]]
    {
        assert_eq!(scratch.store.resolve_image(given).unwrap().id, id, "{given}");
    }
    let image = scratch.store.resolve_image("app").unwrap();
    assert_eq!(image.references, ["docker.io/library/app:latest"]);
    for unknown in ["other", "app:v2", "sha256:00", &"0".repeat(64)] {
        assert!(matches!(scratch.store.resolve_image(unknown), Err(Error::NoImage { .. })), "{unknown}");
    }
    assert!(matches!(scratch.store.resolve_image("No Name"), Err(Error::Reference { .. })));
}

#[test]
fn a_prefix_of_several_ids_is_ambiguous() {
    let scratch = Scratch::new();
    // Seventeen images: two begin with the same digit.
    for n in 0..17 {
        scratch.import(&tar(&[file("f", format!("{n}"))])).unwrap();
    }
    let images = scratch.store.images().unwrap();
    let ambiguous = images.iter().any(|image| {
        matches!(
            scratch.store.resolve_image(&image.id.hex()[..1]),
            Err(Error::Ambiguous { what: "image", .. })
        )
    });
    assert!(ambiguous);
}

#[test]
fn a_name_moves_to_the_newer_image() {
    let scratch = Scratch::new();
    let name = reference("app");
    let import = |content: &str| {
        scratch.store.import(&mut &tar(&[file("f", content)])[..], Some(&name), "test", &|_| {}).unwrap()
    };
    let (old, new) = (import("1"), import("2"));
    assert_eq!(scratch.store.resolve_image("app").unwrap().id, new);
    assert!(scratch.store.resolve_image(&old.to_string()).unwrap().references.is_empty());
    scratch.store.tag(&old, &reference("app:old")).unwrap();
    assert_eq!(scratch.store.resolve_image("app:old").unwrap().id, old);
}

#[test]
fn an_image_goes_with_its_last_name() {
    let scratch = Scratch::new();
    let archive = tar(&[file("f", "1")]);
    let name = reference("app");
    let id = scratch.store.import(&mut &archive[..], Some(&name), "test", &|_| {}).unwrap();
    scratch.store.tag(&id, &reference("app:v2")).unwrap();
    let by_id = scratch.store.remove_image(&id.hex(), false);
    assert!(matches!(by_id, Err(Error::ImageHasNames { .. })));
    assert_eq!(scratch.store.remove_image("app:v2", false).unwrap().deleted, None);
    let other = scratch.import(&archive).unwrap();
    assert_eq!(scratch.store.remove_image("app", false).unwrap().deleted, Some(id));
    // The layer is the other image's as well.
    assert!(scratch.store.resolve_image(&other.hex()).unwrap().layers[0].tree.join("f").exists());
    scratch.store.remove_image(&other.hex(), false).unwrap();
    assert!(scratch.store.images().unwrap().is_empty());
    scratch.assert_clean();
}

#[test]
fn an_image_in_use_stays() {
    let scratch = Scratch::new();
    let id = scratch.import(&tar(&[file("f", "1")])).unwrap();
    let mut record = container(1, "user");
    record.image = Some(id);
    scratch.store.insert_container(&record, Durability::Synced).unwrap();
    let refused = scratch.store.remove_image(&id.hex(), false);
    assert!(matches!(refused, Err(Error::ImageInUse { container, .. }) if container == "user"));
    scratch.store.remove_container(&record.id, Durability::Synced).unwrap();
    scratch.store.remove_image(&id.hex(), false).unwrap();
    assert!(matches!(
        scratch.store.insert_container(&record, Durability::Synced),
        Err(Error::NoImage { .. })
    ));
}
