//! What a container may use after an update: docker's rules for what was set before and what is set now.
//!
//! Source: moby container/container_unix.go, UpdateContainer.

use crate::Error;
use crate::request::{DeviceRate, DeviceWeight, Resources};

/// `old` with what is given in `change`.
///
/// Errors: [`Error::Invalid`] for the container `id`, in docker's words.
pub(super) fn resources(id: &str, old: &Resources, change: &Resources) -> Result<Resources, Error> {
    let refused = |why: &str| Err(Error::invalid(format!("Cannot update container {id}"), why));
    let positive = |number: Option<i64>| number.is_some_and(|number| number > 0);
    let (old_nano, nano) = (old.nano_cpus.unwrap_or(0) > 0, change.nano_cpus.unwrap_or(0) > 0);
    if nano && positive(old.cpu_period_us) {
        return refused(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        );
    }
    if nano && positive(old.cpu_quota_us) {
        return refused("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set");
    }
    if positive(change.cpu_period_us) && old_nano {
        return refused("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
    }
    if positive(change.cpu_quota_us) && old_nano {
        return refused("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    // What isn't given is twice the memory, as it was when the container was made.
    let old_swap = old.memory_swap_bytes.filter(|swap| *swap != 0).unwrap_or_else(|| {
        i64::try_from(old.memory_bytes.unwrap_or(0).saturating_mul(2)).unwrap_or(i64::MAX)
    });
    if let Some(memory) = change.memory_bytes
        && change.memory_swap_bytes.is_none()
        && i64::try_from(memory).unwrap_or(i64::MAX) > old_swap
    {
        return refused(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
    }
    let mut new = old.clone();
    if old_swap != 0 {
        new.memory_swap_bytes = Some(old_swap);
    }
    take(&mut new.memory_bytes, change.memory_bytes);
    take(&mut new.memory_swap_bytes, change.memory_swap_bytes);
    take(&mut new.memory_reservation_bytes, change.memory_reservation_bytes);
    take(&mut new.nano_cpus, change.nano_cpus);
    take(&mut new.cpu_period_us, change.cpu_period_us);
    take(&mut new.cpu_quota_us, change.cpu_quota_us);
    take(&mut new.cpu_rt_period_us, change.cpu_rt_period_us);
    take(&mut new.cpu_rt_runtime_us, change.cpu_rt_runtime_us);
    take(&mut new.cpu_shares, change.cpu_shares);
    take(&mut new.cpuset_cpus, change.cpuset_cpus.clone());
    take(&mut new.cpuset_mems, change.cpuset_mems.clone());
    take(&mut new.pids_limit, change.pids_limit);
    take(&mut new.blkio_weight, change.blkio_weight);
    let same_weight = |a: &DeviceWeight, b: &DeviceWeight| a.path == b.path;
    let same_rate = |a: &DeviceRate, b: &DeviceRate| a.path == b.path;
    replace(&mut new.blkio_weight_device, &change.blkio_weight_device, same_weight);
    replace(&mut new.device_read_bps, &change.device_read_bps, same_rate);
    replace(&mut new.device_write_bps, &change.device_write_bps, same_rate);
    replace(&mut new.device_read_iops, &change.device_read_iops, same_rate);
    replace(&mut new.device_write_iops, &change.device_write_iops, same_rate);
    Ok(new)
}

fn take<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

fn replace<T: Clone>(old: &mut Vec<T>, new: &[T], same: impl Fn(&T, &T) -> bool) {
    for one in new {
        old.retain(|other| !same(one, other));
        old.push(one.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: u64) -> Resources {
        Resources { memory_bytes: Some(bytes), ..Resources::default() }
    }

    #[test]
    fn memory_stays_below_the_swap_that_was_set() {
        let why = |old: &Resources, change: &Resources| {
            resources("c", old, change).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let said = "Memory limit should be smaller than already set memoryswap limit";
        assert!(why(&Resources::default(), &memory(64)).contains(said));
        assert!(why(&memory(64), &memory(129)).contains(said));
        assert_eq!(why(&memory(64), &memory(128)), "");
        let both = Resources { memory_swap_bytes: Some(-1), ..memory(1000) };
        assert_eq!(why(&memory(64), &both), "");
        // Twice what it was, not twice what it is.
        let new = resources("c", &memory(64), &memory(32)).map(|new| new.memory_swap_bytes);
        assert_eq!(new.ok().flatten(), Some(128));
    }

    #[test]
    fn processors_are_given_one_way_only() {
        let cpus = Resources { nano_cpus: Some(1), ..Resources::default() };
        let quota = Resources { cpu_quota_us: Some(5000), ..Resources::default() };
        assert!(resources("c", &cpus, &quota).is_err() && resources("c", &quota, &cpus).is_err());
        let lifted = Resources { cpu_quota_us: Some(-1), ..Resources::default() };
        assert!(resources("c", &cpus, &lifted).is_ok());
    }

    #[test]
    fn what_is_not_given_stays() {
        let old = Resources { pids_limit: Some(5), cpu_shares: Some(2), ..Resources::default() };
        let change = Resources { pids_limit: Some(9), ..Resources::default() };
        let new = resources("c", &old, &change).unwrap_or_default();
        assert_eq!((new.pids_limit, new.cpu_shares, new.memory_swap_bytes), (Some(9), Some(2), None));
    }
}
