//! Whether programs for another machine can be run here: the kernel executes them by itself, or hands them to an emulator
//! that is registered with it. Source: kernel, Documentation/admin-guide/binfmt-misc.rst.

use crate::{Error, images};
use std::path::Path;
use types::image::Platform;

/// Where emulators are registered.
const REGISTERED: &str = "/proc/sys/fs/binfmt_misc";

/// Machines, by the name that images have and by the beginning of their programs: ELF class and byte order, machine.
/// Source: elf.h.
const MACHINES: [(&str, u8, u8, u16); 12] = [
    ("386", 1, 1, 3),
    ("amd64", 2, 1, 62),
    ("arm", 1, 1, 40),
    ("arm64", 2, 1, 183),
    ("loong64", 2, 1, 258),
    ("mips", 1, 2, 8),
    ("mips64", 2, 2, 8),
    ("mips64le", 2, 1, 8),
    ("mipsle", 1, 1, 8),
    ("ppc64le", 2, 1, 21),
    ("riscv64", 2, 1, 243),
    ("s390x", 2, 2, 22),
];

/// Makes sure that a program for this machine can be run in a container.
///
/// Errors: [`Error::Refused`], with how to make it possible.
pub fn check(platform: &Platform) -> Result<(), Error> {
    check_among(platform, &images::host_platform(), Path::new(REGISTERED))
}

/// The machines that programs can be run for, this one first.
pub fn platforms() -> Vec<Platform> {
    let host = images::host_platform();
    let others = MACHINES.iter().map(|(name, ..)| Platform::linux(name, ""));
    let others = others.filter(|platform| *platform != host && check(platform).is_ok());
    std::iter::once(host.clone()).chain(others.collect::<Vec<_>>()).collect()
}

fn check_among(platform: &Platform, host: &Platform, registered: &Path) -> Result<(), Error> {
    let refused = |why: String, hint: String| {
        Err(Error::Refused { what: format!("run a program for {platform}"), why, hint })
    };
    if platform.os != host.os {
        return refused(format!("this machine is {host}"), format!("--platform {}", host.os));
    }
    let wanted = platform.architecture.as_str();
    // The kernel itself does.
    let is_native = wanted == host.architecture
        || (wanted, host.architecture.as_str()) == ("386", "amd64")
        || (wanted, host.architecture.as_str()) == ("arm", "arm64");
    if is_native {
        return Ok(());
    }
    let install =
        "install qemu-user-static and binfmt-support, or register another emulator with binfmt_misc, flag F"
            .to_owned();
    let Some(machine) = MACHINES.iter().find(|(name, ..)| *name == wanted) else {
        return refused(format!("this machine is {host}, and no emulator of that one is known"), install);
    };
    let header = header(machine);
    let mut found = None;
    for entry in std::fs::read_dir(registered).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if let Some(emulator) = Emulator::parse(&text).filter(|emulator| emulator.takes(&header)) {
            if emulator.is_open {
                return Ok(());
            }
            found = Some(emulator);
        }
    }
    match found {
        None => refused(format!("this machine is {host}, and has no emulator of that one"), install),
        Some(emulator) => refused(
            format!("its emulator {} is only found outside of containers", emulator.interpreter),
            "register it with binfmt_misc's flag F, as qemu-user-static does".to_owned(),
        ),
    }
}

/// The beginning of a program.
fn header((_, class, order, machine): &(&str, u8, u8, u16)) -> Vec<u8> {
    let number = |number: u16| if *order == 2 { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut header = vec![0x7f, b'E', b'L', b'F', *class, *order, 1];
    header.resize(16, 0);
    // An executable file.
    header.extend(number(2));
    header.extend(number(*machine));
    header.extend(number(1));
    header
}

/// An emulator that is registered.
#[derive(Debug)]
struct Emulator {
    interpreter: String,
    /// Whether the kernel has it open, so that it needn't be in the container (flag F).
    is_open: bool,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Emulator {
    /// Reads a file of the kernel's; `None` for what isn't enabled, or goes by file names.
    fn parse(text: &str) -> Option<Emulator> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let mut emulator =
            Emulator { interpreter: String::new(), is_open: false, magic: Vec::new(), mask: Vec::new() };
        for line in lines {
            match line.split_once(' ')? {
                ("interpreter", path) => emulator.interpreter = path.to_owned(),
                ("flags:", flags) => emulator.is_open = flags.contains('F'),
                ("offset", offset) if offset.trim() != "0" => return None,
                ("magic", digits) => emulator.magic = bytes(digits)?,
                ("mask", digits) => emulator.mask = bytes(digits)?,
                _ => {}
            }
        }
        Some(emulator).filter(|emulator| !emulator.magic.is_empty())
    }

    fn takes(&self, header: &[u8]) -> bool {
        let mask = |at: usize| self.mask.get(at).copied().unwrap_or(0xff);
        self.magic
            .iter()
            .enumerate()
            .all(|(at, byte)| header.get(at).is_some_and(|own| own & mask(at) == byte & mask(at)))
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.trim().as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's qemu-user-static registers it.
    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
                         magic 7f454c460201010000000000000000000200b700\n\
                         mask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn what_the_kernel_or_an_emulator_runs_can_be_run() {
        let registered = tempfile::tempdir().unwrap();
        let host = Platform::linux("amd64", "");
        let check = |text: &str| {
            let platform = Platform::parse(text, &host).unwrap();
            check_among(&platform, &host, registered.path()).map_err(|error| error.to_string())
        };
        assert_eq!(check("linux/amd64"), Ok(()));
        assert_eq!(check("linux/386"), Ok(()));
        let refused = "cannot run a program for linux/arm64: this machine is linux/amd64, and has no emulator of that one";
        assert_eq!(check("linux/arm64").unwrap_err(), refused);
        assert!(check("windows/amd64").unwrap_err().contains("this machine is linux/amd64"));
        std::fs::write(registered.path().join("status"), "enabled").unwrap();
        std::fs::write(registered.path().join("qemu-aarch64"), ARM64).unwrap();
        std::fs::write(registered.path().join("jar"), "enabled\ninterpreter /usr/bin/java\nextension .jar\n")
            .unwrap();
        assert_eq!(check("linux/arm64"), Ok(()));
        assert!(check("linux/s390x").is_err());
        assert!(check("linux/arm/v7").is_err());
        std::fs::write(registered.path().join("qemu-aarch64"), ARM64.replace("POCF", "OC")).unwrap();
        assert!(check("linux/arm64").unwrap_err().contains("only found outside"));
        std::fs::write(registered.path().join("qemu-aarch64"), ARM64.replace("enabled", "disabled")).unwrap();
        assert_eq!(check("linux/arm64").unwrap_err(), refused);
    }
}
