//! `--device HOST[:CONTAINER][:PERMISSIONS]`.

use engine::request::DeviceRequest;

use crate::failure::BadValue;

/// Whether `text` is some of `r`, `w`, `m`, each once.
fn is_permissions(text: &str) -> bool {
    let once = |letter| text.matches(letter).count() <= 1;
    !text.is_empty() && text.bytes().all(|b| b"rwm".contains(&b)) && once('r') && once('w') && once('m')
}

/// One device. Source: docker/cli container/opts.go, parseLinuxDevice.
pub fn parse(text: &str) -> Result<DeviceRequest, BadValue> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, permissions] if is_permissions(permissions) => (host, host, permissions),
        [host, container] => (host, container, "rwm"),
        [host, container, permissions] if is_permissions(permissions) => (host, container, permissions),
        [_, _, permissions] => {
            return Err(BadValue::new(format!("permissions {permissions:?} aren't some of r, w and m")));
        }
        _ => {
            return Err(BadValue::new("more than three parts").hint("write it as HOST[:CONTAINER][:rwm]"));
        }
    };
    if !host.starts_with('/') {
        let cdi = host.split_once('=').is_some_and(|(kind, _)| kind.contains('/'));
        return Err(match cdi {
            true => BadValue::new("CDI devices aren't supported yet"),
            false => BadValue::new(format!("{host:?} is not an absolute path")).hint(match host.is_empty() {
                true => "name a device, as in /dev/fuse".to_owned(),
                false => format!("did you mean /dev/{host}?"),
            }),
        });
    }
    if !container.starts_with('/') {
        return Err(BadValue::new(format!("{container:?} is not an absolute path")));
    }
    Ok(DeviceRequest {
        host: host.into(),
        container: if container.is_empty() { host } else { container }.into(),
        permissions: permissions.to_owned(),
    })
}
