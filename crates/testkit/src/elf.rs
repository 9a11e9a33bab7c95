//! Programs of a few instructions, for what no tool of busybox does: x86-64 only.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where the image is loaded.
const BASE: u32 = 0x40_0000;

/// A program: its code, which starts at its first byte and needs no data.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    bits: u8,
    code: &'static [u8],
}

/// Exits with the lowest eight bits of its effective user id.
pub const EXIT_WITH_EUID: Image = Image {
    bits: 64,
    code: &[
        0xb8, 107, 0, 0, 0, // mov eax, geteuid
        0x0f, 0x05, // syscall
        0x89, 0xc7, // mov edi, eax
        0xb8, 60, 0, 0, 0, // mov eax, exit
        0x0f, 0x05, // syscall
    ],
};

/// A 32-bit program that calls mkdir with no path and exits with the error's number: EFAULT, which is 14, unless a
/// filter has another.
pub const MKDIR_32: Image = Image {
    bits: 32,
    code: &[
        0xb8, 39, 0, 0, 0, // mov eax, mkdir
        0x31, 0xdb, // xor ebx, ebx
        0xcd, 0x80, // int 0x80
        0xf7, 0xd8, // neg eax
        0x89, 0xc3, // mov ebx, eax
        0xb8, 1, 0, 0, 0, // mov eax, exit
        0xcd, 0x80, // int 0x80
    ],
};

/// The same through the x32 calling convention of 64-bit programs: ENOSYS, which is 38, where the kernel lacks it.
pub const MKDIR_X32: Image = Image {
    bits: 64,
    code: &[
        0xb8, 83, 0, 0, 0x40, // mov eax, mkdir | __X32_SYSCALL_BIT
        0x31, 0xff, // xor edi, edi
        0x0f, 0x05, // syscall
        0xf7, 0xd8, // neg eax
        0x89, 0xc7, // mov edi, eax
        0xb8, 60, 0, 0, 0, // mov eax, exit
        0x0f, 0x05, // syscall
    ],
};

/// Writes the program `image` to the new file `path`, executable by all. Source: elf(5).
pub fn write(path: &Path, image: &Image) {
    let wide = image.bits == 64;
    let (header, entry) = if wide { (64_u32, 56_u32) } else { (52, 32) };
    let start = header + entry;
    let size = start + image.code.len() as u32;
    let mut bytes = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1, 0];
    bytes.resize(16, 0);
    // An address or offset: eight bytes or four.
    let word = |bytes: &mut Vec<u8>, value: u32| {
        bytes.extend(value.to_le_bytes());
        if wide {
            bytes.extend([0; 4]);
        }
    };
    let half = |bytes: &mut Vec<u8>, value: u16| bytes.extend(value.to_le_bytes());
    half(&mut bytes, 2); // executable
    half(&mut bytes, if wide { 62 } else { 3 }); // machine
    bytes.extend(1_u32.to_le_bytes());
    word(&mut bytes, BASE + start); // entry point
    word(&mut bytes, header); // program headers
    word(&mut bytes, 0); // section headers
    bytes.extend(0_u32.to_le_bytes());
    for value in [header, entry, 1, 0, 0, 0] {
        half(&mut bytes, value as u16);
    }
    const READ_EXECUTE: u32 = 5;
    bytes.extend(1_u32.to_le_bytes()); // loadable
    if wide {
        bytes.extend(READ_EXECUTE.to_le_bytes());
    }
    word(&mut bytes, 0); // offset in the file
    word(&mut bytes, BASE);
    word(&mut bytes, BASE);
    word(&mut bytes, size);
    word(&mut bytes, size);
    if !wide {
        bytes.extend(READ_EXECUTE.to_le_bytes());
    }
    word(&mut bytes, 0x1000); // alignment
    bytes.extend(image.code);
    std::fs::write(path, bytes).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .unwrap_or_else(|e| panic!("chmod {}: {e}", path.display()));
}
