//! Names for containers that got none: an adjective and a noun, as docker makes them.

const ADJECTIVES: [&str; 64] = [
    "able", "amber", "ample", "balmy", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid",
    "clear", "clever", "cosy", "crisp", "deft", "eager", "early", "easy", "fair", "fleet", "fond", "frank",
    "fresh", "gentle", "glad", "golden", "grand", "happy", "hardy", "honest", "jolly", "keen", "kind",
    "light", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mild", "neat", "nimble", "noble",
    "patient", "plucky", "proud", "quick", "quiet", "ready", "serene", "sharp", "silver", "smooth", "snug",
    "spry", "steady", "sunny", "swift", "tidy", "vivid", "warm", "witty",
];

const NOUNS: [&str; 64] = [
    "anchor", "barge", "bay", "beacon", "boom", "bow", "breeze", "bridge", "brig", "buoy", "cabin", "canal",
    "canoe", "capstan", "cargo", "clipper", "coast", "compass", "cove", "crane", "crew", "current", "cutter",
    "deck", "dinghy", "dock", "ferry", "fleet", "float", "galley", "gull", "harbour", "haven", "helm",
    "hull", "islet", "jetty", "kayak", "keel", "ketch", "lagoon", "lantern", "lock", "marina", "mast",
    "mooring", "oar", "pier", "pilot", "port", "quay", "raft", "reef", "rigging", "rudder", "sail",
    "schooner", "shore", "skiff", "sloop", "spar", "tide", "tug", "wharf",
];

/// A name made of two random bytes; with `attempt` above 0 a number follows, which makes it ever less likely taken.
pub fn make(random: [u8; 2], attempt: u32) -> String {
    let (adjective, noun) = (ADJECTIVES[random[0] as usize % 64], NOUNS[random[1] as usize % 64]);
    match attempt {
        0 => format!("{adjective}_{noun}"),
        n => format!("{adjective}_{noun}{n}"),
    }
}

/// A random name of 64 hexadecimal digits, as ids are.
pub(crate) fn random_id() -> Result<String, crate::Error> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| crate::Error::system("make", "a random id", errno))?;
    Ok(types::id::ContainerId::from_random(bytes).as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_valid_one() {
        for n in 0..=255u8 {
            assert!(types::id::is_name(&make([n, n], 0)));
            assert!(types::id::is_name(&make([n, 255 - n], n.into())));
        }
    }
}
