//! The database: opening it, and the two ways to use it, one transaction for reading and one for writing.
//!
//! Commands are short-lived processes, many at a time. Writers queue on a `flock` of the root directory before they
//! begin: it is fair and dies with its holder, where SQLite's own lock is polled (net-store-facts.md 9). The busy
//! timeout covers what is left: recovery, and the last connection's checkpoint.

use crate::error::Error;
use crate::paths::{LAYOUT, Paths};
use crate::schema;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a statement waits for another process's lock before it fails. Measured waits of 8 writers stay below half
/// a second; a disk that stalls may take seconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// Faults of each kind that a check tells.
const FAULTS_MAX: usize = 5;

/// Bytes of the log, 128 pages, at which a commit copies it into the database and empties it: two fsyncs every few dozen
/// changes. The first process after all others have ended reads the whole log, 2 µs a page.
const LOG_BYTES_MAX: u64 = 128 * (4096 + 24);

/// Whether a change must survive a power cut, or only the death of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk when the call returns: one fsync.
    Synced,
    /// A power cut may take it back, together with every later change that wasn't synced either: no fsync.
    Unsynced,
}

/// The open database of a store.
#[derive(Debug)]
pub(crate) struct Db {
    connection: Connection,
    root: OwnedFd,
    paths: Paths,
    writable: bool,
    /// What the connection is set to; `None` before the first change.
    durability: Cell<Option<Durability>>,
}

/// A failure inside a transaction: SQLite's, to which the caller adds what for, or one that says all.
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Store(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Store(error)
    }
}

impl Db {
    /// Opens the store at `root`, making or upgrading it where needed.
    pub fn open(root: &Path) -> Result<Db, Error> {
        let paths = Paths::of(root);
        let root = open_or_make_root(root)?;
        check_mode(&paths, root.as_fd())?;
        let opened = connect(&paths.database()).and_then(|db| user_version(&db).map(|found| (db, found)));
        let connection = match opened {
            // What can't be opened for writing SQLite opens for reading, without a word: on a read-only file system,
            // and where the file is made just between its two attempts. Opening it under the lock tells which.
            Ok((connection, _)) if connection.is_readonly("main").unwrap_or(false) => {
                drop(connection);
                upgrade(&paths, root.as_fd())?
            }
            Ok((connection, schema::NEWEST)) => connection,
            Ok((_, found)) if found > schema::NEWEST => return Err(newer(&paths, found)),
            Ok(_) => upgrade(&paths, root.as_fd())?,
            // Not there, or not yet when we looked: whether it is there is only certain under the lock.
            Err(source) if source.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
                upgrade(&paths, root.as_fd())?
            }
            Err(source) => return Err(database(&paths, "open the store", source)),
        };
        Ok(Db { connection, root, paths, writable: true, durability: Cell::new(None) })
    }

    /// Opens the store at `root` without changing anything, not even on a file system that is read-only.
    pub fn open_read_only(root: &Path) -> Result<Db, Error> {
        let paths = Paths::of(root);
        let open_error = |path: &Path, source: Errno| match source {
            Errno::NOENT => Error::NoStore { path: paths.root().to_owned() },
            _ => Error::OpenRoot { path: path.to_owned(), source: source.into() },
        };
        let root = open_directory(root).map_err(|source| open_error(root, source))?;
        rustix::fs::access(paths.database(), rustix::fs::Access::READ_OK)
            .map_err(|source| open_error(&paths.database(), source))?;
        let opened = connect_read_only(&paths, root.as_fd());
        let (connection, found) = opened.map_err(|source| database(&paths, "read the store", source))?;
        match found {
            schema::NEWEST => {
                Ok(Db { connection, root, paths, writable: false, durability: Cell::new(None) })
            }
            _ if found > schema::NEWEST => Err(newer(&paths, found)),
            // Whoever made the file was killed before its tables were committed: nothing was ever stored.
            0 => Err(Error::NoStore { path: paths.root().to_owned() }),
            _ => Err(Error::OlderSchema { path: paths.database(), found, known: schema::NEWEST }),
        }
    }

    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The schema's number, and what is wrong with tables, indices, and rows that name others.
    pub fn check(&self) -> Result<(i64, Vec<String>), Error> {
        self.read("check the store", |tx| {
            let mut faults = Vec::new();
            let mut whole = tx.prepare(&format!("PRAGMA integrity_check({FAULTS_MAX})"))?;
            let lines = whole.query_map([], |row| row.get::<_, String>(0))?;
            for line in lines {
                let line = line?;
                if line != "ok" {
                    faults.push(line);
                }
            }
            let mut strays = tx.prepare("PRAGMA foreign_key_check")?;
            let rows = strays.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?))
            })?;
            for row in rows.take(FAULTS_MAX) {
                let (table, _, parent) = row?;
                faults.push(format!("a row of {table} names one of {parent} that isn't there"));
            }
            Ok((schema::NEWEST, faults))
        })
    }

    /// Runs `work` on one consistent state of the database.
    pub fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let run = || {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
            work(&transaction)
        };
        run().map_err(|fault| self.explain(doing, fault))
    }

    /// Runs `work` alone among writers and commits what it did, or nothing of it if it fails.
    pub fn write<T>(
        &self,
        doing: &'static str,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        self.require_writable(doing)?;
        let _turn = Turn::take(self.root.as_fd()).map_err(|source| Error::Files {
            doing: "lock",
            path: self.paths.root().to_owned(),
            source: source.into(),
        })?;
        let run = || {
            self.set_durability(durability)?;
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            self.shorten_log();
            Ok(value)
        };
        run().map_err(|fault| self.explain(doing, fault))
    }

    /// Empties the log once it's long. SQLite's automatic checkpoint only notes that it may be written from the beginning
    /// again, in an index that goes with the last process: with a process for each change it would grow for ever.
    fn shorten_log(&self) {
        if std::fs::metadata(log_path(&self.paths)).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            // While somebody reads it, it stays for the next change; a failure loses nothing either.
            let _ = self.connection.busy_timeout(Duration::ZERO);
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            let _ = self.connection.busy_timeout(BUSY_TIMEOUT);
        }
    }

    /// Whether it was opened for writing.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Refuses what changes a store that was opened for reading.
    pub fn require_writable(&self, doing: &'static str) -> Result<(), Error> {
        match self.writable {
            true => Ok(()),
            false => Err(Error::ReadOnly { doing, path: self.paths.database() }),
        }
    }

    /// The error that a value in a row is none of ours.
    pub fn damaged(&self, what: &'static str, value: &str) -> Error {
        Error::Damaged { path: self.paths.database(), what, value: value.to_owned() }
    }

    /// Sets the connection up for a change. Reading needs none of it.
    fn set_durability(&self, durability: Durability) -> rusqlite::Result<()> {
        let known = self.durability.get();
        if known.is_none() {
            self.connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        }
        if known.unwrap_or(Durability::Synced) != durability {
            let value = match durability {
                Durability::Synced => "FULL",
                Durability::Unsynced => "NORMAL",
            };
            self.connection.pragma_update(None, "synchronous", value)?;
        }
        self.durability.set(Some(durability));
        Ok(())
    }

    fn explain(&self, doing: &'static str, fault: Fault) -> Error {
        match fault {
            Fault::Store(error) => error,
            Fault::Sql(source) => database(&self.paths, doing, source),
        }
    }
}

/// A writer's turn: the lock on the root directory, until dropped.
struct Turn<'a>(BorrowedFd<'a>);

impl Turn<'_> {
    fn take(root: BorrowedFd<'_>) -> Result<Turn<'_>, Errno> {
        rustix::io::retry_on_intr(|| rustix::fs::flock(root, FlockOperation::LockExclusive))?;
        Ok(Turn(root))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Cannot fail on a descriptor that took the lock, and closing it would unlock as well.
        let _ = rustix::fs::flock(self.0, FlockOperation::Unlock);
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn open_or_make_root(path: &Path) -> Result<OwnedFd, Error> {
    let opened = open_directory(path).or_else(|error| match error {
        Errno::NOENT => {
            match rustix::fs::mkdir(path, Mode::RWXU) {
                Ok(()) => sync_parent(path)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            open_directory(path)
        }
        error => Err(error),
    });
    opened.map_err(|source| Error::OpenRoot { path: path.to_owned(), source: source.into() })
}

/// Makes a new directory's name durable.
fn sync_parent(path: &Path) -> Result<(), Errno> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    rustix::fs::fsync(open_directory(parent.unwrap_or(Path::new(".")))?)
}

/// Refuses a root where others could move things about. Others may look at its list; everything in it is private.
fn check_mode(paths: &Paths, root: BorrowedFd<'_>) -> Result<(), Error> {
    let stat = rustix::fs::fstat(root)
        .map_err(|source| Error::OpenRoot { path: paths.root().to_owned(), source: source.into() })?;
    match stat.st_mode & 0o022 {
        0 => Ok(()),
        _ => Err(Error::InsecureRoot { path: paths.root().to_owned(), mode: stat.st_mode & 0o7777 }),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No mutex: a store belongs to one thread. No CREATE: making the database is `upgrade`'s.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Else the last of the commands to end copies the log into the database, with two fsyncs, each time. The log stays
    // bounded by `LOG_BYTES_MAX`.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes the layout and the database, or brings an older one up to date. A crash in here leaves a state from which the
/// next call goes on.
fn upgrade(paths: &Paths, root: BorrowedFd<'_>) -> Result<Connection, Error> {
    let open_error = |path: PathBuf| move |source: Errno| Error::OpenRoot { path, source: source.into() };
    let _turn = Turn::take(root).map_err(open_error(paths.root().to_owned()))?;
    for name in LAYOUT {
        match rustix::fs::mkdirat(root, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(source) => return Err(open_error(paths.root().join(name))(source)),
        }
    }
    // Made here, because SQLite would let everybody read it; its log and index take the mode over.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(root, "store.db", flags, Mode::RUSR | Mode::WUSR)
        .map_err(open_error(paths.database()))?;
    rustix::fs::fsync(root).map_err(open_error(paths.root().to_owned()))?;
    let mut connection =
        connect(&paths.database()).map_err(|source| database(paths, "open the store", source))?;
    let found =
        migrate(&mut connection).map_err(|source| database(paths, "upgrade the store's schema", source))?;
    match found > schema::NEWEST {
        true => Err(newer(paths, found)),
        false => Ok(connection),
    }
}

/// Runs the migrations that are missing, all or none, and returns the schema found before.
fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = user_version(&transaction)?;
    if found < schema::NEWEST {
        let done = usize::try_from(found).unwrap_or_default();
        for migration in &schema::MIGRATIONS[done..] {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", schema::NEWEST)?;
    }
    transaction.commit()?;
    Ok(found)
}

/// Connects for reading and reads the schema's number.
fn connect_read_only(paths: &Paths, root: BorrowedFd<'_>) -> rusqlite::Result<(Connection, i64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let attempt = |path: &Path, flags| {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let found = user_version(&connection)?;
        Ok((connection, found))
    };
    attempt(&paths.database(), flags).or_else(|error: rusqlite::Error| match error.sqlite_error_code() {
        // SQLite needs an index beside the log, and can't make one here. Nobody else can write either: the file alone
        // is the truth, unless a log with commits was left behind.
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) if is_frozen(paths, root) => {
            attempt(&immutable_uri(&paths.database()), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        // Whoever made the database was killed before it had a log, with a change half done: that's taken back first.
        Some(ErrorCode::ReadOnly) => {
            user_version(&connect(&paths.database())?)?;
            attempt(&paths.database(), flags)
        }
        _ => Err(error),
    })
}

/// Whether the database file holds all commits and can't change: a read-only file system and no log.
fn is_frozen(paths: &Paths, root: BorrowedFd<'_>) -> bool {
    let read_only = rustix::fs::fstatvfs(root)
        .is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    read_only && std::fs::metadata(log_path(paths)).map_or(true, |log| log.len() == 0)
}

/// SQLite's log beside the database.
fn log_path(paths: &Paths) -> PathBuf {
    let mut log = paths.database().into_os_string();
    log.push("-wal");
    log.into()
}

fn immutable_uri(path: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                uri.push(char::from(*byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    PathBuf::from(uri)
}

fn newer(paths: &Paths, found: i64) -> Error {
    Error::NewerSchema { path: paths.database(), found, known: schema::NEWEST }
}

fn database(paths: &Paths, doing: &'static str, source: rusqlite::Error) -> Error {
    Error::Database { doing, path: paths.database(), source }
}
