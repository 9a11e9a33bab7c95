//! A user's home directory from the container's own `/etc/passwd`: read as data, bounded, never through NSS, which would
//! load the image's code (security.md T2, T13).

use super::masks::open_file;
use std::io::Read;
use std::os::fd::BorrowedFd;

/// Most bytes read of the file.
const PASSWD_BYTES_MAX: u64 = 1 << 20;

/// Home of user `uid` by the passwd file below `root`; `None` if there is none.
pub(super) fn home(root: BorrowedFd<'_>, uid: u32) -> Option<Vec<u8>> {
    let file = std::fs::File::from(open_file(root, "/etc/passwd").ok()?);
    let mut content = Vec::new();
    file.take(PASSWD_BYTES_MAX).read_to_end(&mut content).ok()?;
    find_home(&content, uid)
}

fn find_home(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
    passwd.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let id = std::str::from_utf8(fields.nth(2)?).ok()?.parse::<u32>().ok()?;
        let home = fields.nth(2)?;
        (id == uid && !home.is_empty() && !home.contains(&0)).then(|| home.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_found_by_number() {
        let passwd =
            b"root:x:0:0:root:/root:/bin/sh\nbroken\nx:x:4294967296:0::/no:\nweb:x:33:33::/var/www:/bin/sh\n";
        assert_eq!(find_home(passwd, 33).unwrap(), b"/var/www");
        assert_eq!(find_home(passwd, 0).unwrap(), b"/root");
        assert_eq!(find_home(passwd, 1), None);
    }
}
