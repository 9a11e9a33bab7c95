//! Which services of a project are meant: by profiles, by names, with what they depend on.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::fault::did_you_mean;
use crate::model::Project;

impl Project {
    /// Enables the services that these profiles enable, and disables all others.
    pub fn enable_profiles(&mut self, profiles: &[String]) {
        self.profiles = profiles.to_vec();
        let mut all = std::mem::take(&mut self.services);
        all.append(&mut self.disabled);
        for (name, service) in all {
            let to = if service.has_profile(profiles) { &mut self.services } else { &mut self.disabled };
            to.insert(name, service);
        }
    }

    /// Enables the profiles of these services: who names a service means it.
    pub fn enable_services(&mut self, names: &[String]) {
        let mut profiles = self.profiles.clone();
        for service in names.iter().filter_map(|name| self.disabled.get(name)) {
            profiles.extend(service.profiles.iter().cloned());
        }
        if !names.is_empty() {
            self.enable_profiles(&profiles);
        }
    }

    /// Keeps only these services, and what they depend on unless `alone`. No names keep all. A name may have `*` and `?`.
    ///
    /// Errors: a name that no service has.
    pub fn select(&mut self, names: &[String], alone: bool) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        let mut chosen = BTreeSet::new();
        let mut open = Vec::new();
        for pattern in names {
            let matching: Vec<&String> = self.services.keys().filter(|name| matches(pattern, name)).collect();
            if matching.is_empty() {
                let near = did_you_mean(pattern, self.services.keys().map(String::as_str)).map(str::to_owned);
                return Err(Error::NoService { name: pattern.clone(), near });
            }
            open.extend(matching.into_iter().cloned());
        }
        while let Some(name) = open.pop() {
            let Some(service) = self.services.get(&name).filter(|_| chosen.insert(name.clone())) else {
                continue;
            };
            for (dependency, how) in service.depends_on.iter().filter(|_| !alone) {
                if self.services.contains_key(dependency) {
                    open.push(dependency.clone());
                } else if how.required.0 {
                    return Err(Error::NoService { name: dependency.clone(), near: None });
                }
            }
        }
        for (name, mut service) in std::mem::take(&mut self.services) {
            if chosen.contains(&name) {
                service.depends_on.retain(|dependency, _| chosen.contains(dependency));
                self.services.insert(name, service);
            } else {
                self.disabled.insert(name, service);
            }
        }
        Ok(())
    }

    /// Drops networks, volumes, secrets, configs and models that no enabled service uses.
    pub fn drop_unused_resources(&mut self) {
        let mut networks = BTreeSet::new();
        let mut volumes = BTreeSet::new();
        let mut secrets = BTreeSet::new();
        let mut configs = BTreeSet::new();
        let mut models = BTreeSet::new();
        for service in self.services.values() {
            networks.extend(service.networks.keys());
            models.extend(service.models.keys());
            volumes.extend(
                service.volumes.iter().filter(|mount| mount.kind == "volume").map(|mount| &mount.source),
            );
            secrets.extend(service.secrets.iter().map(|secret| &secret.source));
            secrets
                .extend(service.build.iter().flat_map(|build| &build.secrets).map(|secret| &secret.source));
            configs.extend(service.configs.iter().map(|config| &config.source));
        }
        self.networks.retain(|name, _| networks.contains(name));
        self.volumes.retain(|name, _| volumes.contains(name));
        self.secrets.retain(|name, _| secrets.contains(name));
        self.configs.retain(|name, _| configs.contains(name));
        self.models.retain(|name, _| models.contains(name));
    }
}

/// Whether a name fits a pattern in which `*` is any letters and `?` is one.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            (0..=name.len()).any(|at| name.is_char_boundary(at) && matches(rest, &name[at..]))
        }
        (Some('?'), Some(c)) => matches(&pattern[1..], &name[c.len_utf8()..]),
        (Some(a), Some(b)) if a == b => matches(&pattern[a.len_utf8()..], &name[b.len_utf8()..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, fits) in [
            ("web", "web", true),
            ("web*", "web-1", true),
            ("*b", "web", true),
            ("w?b", "web", true),
            ("w", "web", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
