//! User ids, groups, capabilities, privileges: of the calling thread only, by raw calls.

use crate::process::prctl;
use crate::sys::syscall;
use rustix::io::Result;

/// Sets real, effective and saved user id; `u32::MAX` leaves one as it is. Source: setresuid(2).
pub fn setresuid(real: u32, effective: u32, saved: u32) -> Result<()> {
    // SAFETY: integers only.
    unsafe { syscall!(libc::SYS_setresuid, real, effective, saved) }.map(drop)
}

/// Sets real, effective and saved group id; `u32::MAX` leaves one as it is. Source: setresgid(2).
pub fn setresgid(real: u32, effective: u32, saved: u32) -> Result<()> {
    // SAFETY: integers only.
    unsafe { syscall!(libc::SYS_setresgid, real, effective, saved) }.map(drop)
}

/// Sets the ids that file system accesses are judged by. Source: setfsuid(2), setfsgid(2).
pub fn setfsids(uid: u32, gid: u32) {
    // SAFETY: integers only; both calls return the former id and can't fail otherwise.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid as libc::c_long);
        libc::syscall(libc::SYS_setfsuid, uid as libc::c_long);
    }
}

/// Replaces the supplementary groups. Source: setgroups(2).
pub fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: the pointer and length are those of a slice of gid_t.
    unsafe { syscall!(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }.map(drop)
}

/// Capability sets of a thread as bit masks. Source: capget(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapState {
    /// Effective set.
    pub effective: u64,
    /// Permitted set.
    pub permitted: u64,
    /// Inheritable set.
    pub inheritable: u64,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// The calling thread's sets. Source: capget(2).
pub fn capget() -> Result<CapState> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [[0u32; 3]; 2];
    // SAFETY: version 3 has two triples of 32-bit words.
    unsafe { syscall!(libc::SYS_capget, &raw const header, &raw mut data) }?;
    let join = |n: usize| u64::from(data[0][n]) | u64::from(data[1][n]) << 32;
    Ok(CapState { effective: join(0), permitted: join(1), inheritable: join(2) })
}

/// Sets the calling thread's sets. Source: capset(2).
pub fn capset(state: CapState) -> Result<()> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let half = |shift: u32| {
        [
            (state.effective >> shift) as u32,
            (state.permitted >> shift) as u32,
            (state.inheritable >> shift) as u32,
        ]
    };
    let data = [half(0), half(32)];
    // SAFETY: as in `capget`.
    unsafe { syscall!(libc::SYS_capset, &raw const header, &raw const data) }.map(drop)
}

/// The highest capability number that the running kernel knows, found by asking for each upward from 40.
pub fn last_cap() -> u8 {
    let known = |n: u8| prctl(libc::PR_CAPBSET_READ, n.into(), 0).is_ok();
    let mut last = 40;
    if known(last) {
        while last < 63 && known(last + 1) {
            last += 1;
        }
    } else {
        while last > 0 && !known(last) {
            last -= 1;
        }
    }
    last
}

/// Takes every capability out of the bounding set that `keep` lacks. Source: PR_CAPBSET_DROP.
pub fn limit_bounding(keep: u64) -> Result<()> {
    for n in 0..=last_cap() {
        if keep & (1 << n) == 0 {
            prctl(libc::PR_CAPBSET_DROP, n.into(), 0)?;
        }
    }
    Ok(())
}

/// Empties the ambient set and raises what `set` holds. Source: PR_CAP_AMBIENT.
pub fn set_ambient(set: u64) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    for n in (0..64).filter(|n| set & (1 << n) != 0) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, n)?;
    }
    Ok(())
}

/// Whether a change from root to another id keeps the permitted capabilities. Source: PR_SET_KEEPCAPS.
pub fn set_keep_caps(on: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, on.into(), 0)
}

/// Bars gaining privileges by execve(2), for ever. Source: PR_SET_NO_NEW_PRIVS.
pub fn set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Runs `f` with file system accesses judged as `uid`:`gid`, all permitted capabilities staying in force, and restores
/// root's ids afterwards.
pub fn with_fsids<T>(uid: u32, gid: u32, f: impl FnOnce() -> T) -> Result<T> {
    let before = capget()?;
    setfsids(uid, gid);
    // Leaving uid 0 cleared the file capabilities from the effective set; put them back.
    let raised = capset(CapState { effective: before.permitted, ..before });
    let result = raised.map(|()| f());
    setfsids(0, 0);
    capset(before)?;
    result
}
