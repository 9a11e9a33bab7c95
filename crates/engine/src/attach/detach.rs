//! The keys that leave a container's terminal, `^P^Q` unless others were chosen.

/// Watches for the sequence in what is typed.
#[derive(Debug)]
pub struct DetachKeys {
    keys: Vec<u8>,
    /// How many of them were typed just before, and held back.
    typed: usize,
}

impl DetachKeys {
    /// No keys, no leaving.
    pub fn new(keys: Vec<u8>) -> DetachKeys {
        DetachKeys { keys, typed: 0 }
    }

    /// What of `input` goes to the container, and whether the sequence is complete.
    pub fn filter(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(input.len());
        for byte in input {
            if self.keys.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    self.typed = 0;
                    return (passed, true);
                }
                continue;
            }
            // It wasn't the sequence after all: what was held back goes through, and this byte may begin another.
            passed.extend_from_slice(&self.keys[..self.typed]);
            self.typed = 0;
            if self.keys.first() == Some(byte) && self.keys.len() > 1 {
                self.typed = 1;
            } else {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> DetachKeys {
        DetachKeys::new(vec![0x10, 0x11])
    }

    #[test]
    fn the_sequence_leaves_and_is_not_passed_on() {
        assert_eq!(keys().filter(b"ab\x10\x11cd"), (b"ab".to_vec(), true));
        let mut split = keys();
        assert_eq!(split.filter(b"\x10"), (vec![], false));
        assert_eq!(split.filter(b"\x11"), (vec![], true));
    }

    #[test]
    fn half_of_it_is_passed_on_with_what_follows() {
        let mut k = keys();
        assert_eq!(k.filter(b"\x10x"), (b"\x10x".to_vec(), false));
        assert_eq!(k.filter(b"\x10\x10\x11"), (b"\x10".to_vec(), true));
    }

    #[test]
    fn without_keys_everything_passes() {
        assert_eq!(DetachKeys::new(vec![]).filter(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
