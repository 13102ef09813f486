//! A log's directory: what lies where, who may use it, and which log it is.
//!
//! ```text
//! DIR/public/    checkpoint and tile/: all that a static file server may see (FS_ROOT moves it)
//! DIR/state/     what is sequenced and not yet everywhere else (DATABASE_URL moves it)
//! DIR/index/     derived, rebuilt when missing: duplicates/, vindex/
//! DIR/tmp/       files on their way to public/; FS_ROOT.tmp/ when that moves it
//! DIR/log.key    the signing key, 0600; while it is being changed, log-old.key signs too (`keys::rotate`)
//! DIR/format     the version of all this; a newer one is refused
//! DIR/lock       held by the process that writes; a second one beside FS_ROOT when that moves it
//! ```

use std::{
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use glasslog_conda::{Conda1, Conda1Map, names::Repo};
use glasslog_core::{
    note::{MAX_NOTE_BYTES, SecretKey, Signer, VerifierKey},
    personality::Personality,
    policy::Policy,
};
use glasslog_index::Options;
use glasslog_log::{IndexConfig, LogConfig, Stores};
use glasslog_store::{
    LogState,
    disk::{Disk, RealDisk},
    duplicates::Table,
    lock::LockFile,
    log_state::{MemoryLogState, SegmentLogState, SegmentOptions},
    objects::{FsObjects, MemoryObjects, Objects},
};

use glasslog_vindex::MapFunction;

use crate::{
    exit::{Exit, Failed, OrExit},
    keys::{self, KEY_FILE, rotate},
    settings::{IndexSettings, LogSettings, values::StatePlace},
    witnesses,
};

/// How long a superseded partial tile stays after the full one is public: a reader that holds an older checkpoint
/// finishes in this time.
const PARTIALS_KEPT_FOR: Duration = Duration::from_secs(300);

/// After this time the cosignatures of an idle log are asked for again. Verifiers want them younger than a day; a
/// witness's budget is spent by every request.
pub(crate) const REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// The version of the layout above.
const FORMAT: u32 = 1;

/// A log's directory, opened and locked: what [`glasslog_log::Log::open`] wants.
pub struct OpenDir {
    /// What the log is and how it behaves.
    pub config: LogConfig,
    /// Where it keeps things.
    pub stores: Stores,
    /// Its witness policy, with its text, if it has one.
    pub policy: Option<(Policy, String)>,
    /// Whether this call made the log.
    pub is_new: bool,
    /// To be held as long as the log runs (invariant 8).
    pub locks: Vec<LockFile>,
}

/// Opens the directory, making what a new log needs. Blocks on the disk.
///
/// # Errors
///
/// [`Failed`] with 64 when settings and directory contradict each other, with 5 when the directory cannot be used or is
/// another process's.
pub fn open(settings: &LogSettings) -> Result<OpenDir, Failed> {
    let places = Places::of(settings);
    let disk = Arc::new(RealDisk::private());
    let cannot_write = || format!("cannot use the directory {}", places.dir.display());
    disk.create_dir_all(&places.dir).with_context(cannot_write)?;
    let mut locks = vec![LockFile::acquire(&places.dir.join("lock"))?];
    // Wherever settings put state and objects, and whichever directory they are reached from: one writer (invariant 8).
    let state_lock = places.state.as_ref().map(|state| state.join("lock"));
    for lock in state_lock.iter().chain([&places.public_lock]) {
        let dir = lock.parent().unwrap_or(Path::new("."));
        disk.create_dir_all(dir).with_context(|| format!("cannot use {}", dir.display()))?;
        locks.push(LockFile::acquire(lock)?);
    }
    check_format(disk.as_ref(), &places.dir)?;
    let (keys, is_new) = keys(settings, &places)?;
    let log_keys: Vec<VerifierKey> = keys.iter().map(|key| key.verifier_key().clone()).collect();
    let policy = witnesses::policy(&settings.witnesses, &log_keys)?;
    let stores = stores(settings, &places, disk.clone())?;
    let index = index(settings, &places, disk);
    Ok(OpenDir {
        config: LogConfig { index, ..config(settings, &keys, &log_keys)? },
        stores,
        policy,
        is_new,
        locks,
    })
}

/// The keys that sign for the log, the current one first, for a command that does not open it; none if it has none yet.
///
/// # Errors
///
/// [`Failed`] with 64 for a setting that is no key, 5 for a file that cannot be read.
pub(crate) fn known_keys(settings: &LogSettings) -> Result<Vec<SecretKey>, Failed> {
    match given_keys(settings)? {
        Some(given) => Ok(given),
        None => Ok(rotate::signing_keys(&settings.dir)?),
    }
}

/// The keys that sign for the log, the current one first, made if it is a new log: for a caller that must know them before
/// the log is opened.
///
/// # Errors
///
/// [`Failed`] as [`open`].
pub(crate) fn make_keys(settings: &LogSettings) -> Result<Vec<SecretKey>, Failed> {
    let places = Places::of(settings);
    RealDisk::private()
        .create_dir_all(&places.dir)
        .with_context(|| format!("cannot use the directory {}", places.dir.display()))?;
    let _writer = LockFile::acquire(&places.dir.join("lock"))?;
    Ok(keys(settings, &places)?.0)
}

fn given_keys(settings: &LogSettings) -> Result<Option<Vec<SecretKey>>, Failed> {
    let given = settings.private_key.as_ref().map(|text| keys::parse_several(text)).transpose();
    given.context("LOG_PRIVATE_KEY is not a signing key").or_exit(Exit::Usage)
}

/// The checkpoint at the public path, for a command that does not open the log.
///
/// # Errors
///
/// When there is one and it cannot be read.
pub(crate) fn public_checkpoint(settings: &LogSettings) -> std::io::Result<Option<Vec<u8>>> {
    let path = Places::of(settings).public.join("checkpoint");
    match RealDisk::public().read(&path, MAX_NOTE_BYTES as u64) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Refuses a directory that a newer release has laid out, and marks one that has no mark yet.
fn check_format(disk: &RealDisk, dir: &Path) -> Result<(), Failed> {
    let path = dir.join("format");
    let found = match disk.read(&path, 64) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mark = || {
                let temporary = dir.join(format!("format.{}.tmp", std::process::id()));
                let file = disk.create_new(&temporary)?;
                file.write_all_at(format!("{FORMAT}\n").as_bytes(), 0)?;
                file.sync()?;
                disk.rename(&temporary, &path)?;
                disk.sync_dir(dir)
            };
            return Ok(mark().with_context(|| format!("cannot write {}", path.display()))?);
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot read {}", path.display()))
                .map_err(Failed::from);
        }
    };
    if found == FORMAT.to_string() {
        return Ok(());
    }
    Err(Failed::usage(format!(
        "{} was laid out by another release of glasslog (format {found:?}, this one knows {FORMAT}): use that release",
        dir.display()
    )))
}

/// Where everything of one log lies.
struct Places {
    dir: PathBuf,
    public: PathBuf,
    tmp: PathBuf,
    /// `None`: in memory.
    state: Option<PathBuf>,
    /// Held by whoever writes objects, beside their directory: all in it may be served.
    public_lock: PathBuf,
}

impl Places {
    fn of(settings: &LogSettings) -> Places {
        let dir = settings.dir.clone();
        let public = settings.fs_root.clone().unwrap_or_else(|| dir.join("public"));
        // Beside the objects, so that a rename can put them in place; under names that are nobody else's.
        let beside = |suffix: &str| {
            let mut name = public.file_name().unwrap_or(OsStr::new("public")).to_owned();
            name.push(suffix);
            public.parent().unwrap_or(Path::new("")).join(name)
        };
        Places {
            tmp: if settings.fs_root.is_some() { beside(".tmp") } else { dir.join("tmp") },
            public_lock: beside(".lock"),
            state: match &settings.state {
                StatePlace::Memory => None,
                StatePlace::Directory(place) => Some(place.clone().unwrap_or_else(|| dir.join("state"))),
            },
            public,
            dir,
        }
    }

    /// Whether a log has been here, whatever else is missing.
    fn hold_a_log(&self) -> bool {
        self.public.join("checkpoint").exists()
            || self.state.as_ref().and_then(|state| state.read_dir().ok()).is_some_and(|mut entries| {
                entries.any(|entry| {
                    entry.is_ok_and(|entry| entry.path().extension() == Some(OsStr::new("segment")))
                })
            })
    }
}

/// The keys that sign for the log, the current one first, and whether it is a new log. The keys' name is the origin: what
/// is recorded goes before settings, and settings that say otherwise are refused.
fn keys(settings: &LogSettings, places: &Places) -> Result<(Vec<SecretKey>, bool), Failed> {
    let kept = rotate::signing_keys(&places.dir)?;
    let given = given_keys(settings)?;
    let is_new = !places.hold_a_log();
    let keys = match given {
        Some(given) => {
            refuse_another_key(&kept, &given, &places.dir)?;
            given
        }
        None if !kept.is_empty() => kept,
        None if !is_new => {
            return Err(Failed::usage(format!(
                "{} holds a log but not its key: put {KEY_FILE} back from your backup, or give LOG_PRIVATE_KEY_FILE",
                places.dir.display()
            )));
        }
        None => {
            let key = keys::generate(&origin_of_a_new_log(settings)?).or_exit(Exit::Usage)?;
            keys::save(&places.dir.join(KEY_FILE), &key)?;
            vec![key]
        }
    };
    refuse_other_names(settings, &keys, &places.dir)?;
    Ok((keys, is_new))
}

/// A directory that keeps keys is that log's: settings must give one of them.
fn refuse_another_key(kept: &[SecretKey], given: &[SecretKey], dir: &Path) -> Result<(), Failed> {
    let known = |key: &SecretKey| kept.iter().any(|kept| kept.verifier_key() == key.verifier_key());
    let Some(first) = kept.first().filter(|_| !given.iter().any(known)) else { return Ok(()) };
    let given: Vec<String> = given.iter().map(|key| key.verifier_key().to_string()).collect();
    Err(Failed::usage(format!(
        "{} keeps the key of {}, and LOG_PRIVATE_KEY is another ({}): choose another directory, or leave the setting out",
        dir.join(KEY_FILE).display(),
        first.verifier_key(),
        given.join(", ")
    )))
}

/// One origin, at most two keys of it.
fn refuse_other_names(settings: &LogSettings, keys: &[SecretKey], dir: &Path) -> Result<(), Failed> {
    let name = keys.first().map_or("", SecretKey::name);
    if keys.len() > 2 || keys.iter().any(|key| key.name() != name) {
        return Err(Failed::usage(format!(
            "{} signing keys for one log: there may be the current one and the one before it, both named as the origin",
            keys.len()
        )));
    }
    match settings.origin.as_ref().filter(|origin| *origin != name) {
        None => Ok(()),
        Some(origin) => Err(Failed::usage(format!(
            "{} is the log {name}, and LOG_ORIGIN says {origin}: choose another directory, or leave the setting out",
            dir.display(),
        ))),
    }
}

fn origin_of_a_new_log(settings: &LogSettings) -> Result<String, Failed> {
    if let Some(origin) = &settings.origin {
        return Ok(origin.clone());
    }
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(keys::KeyFileError::Random)?;
    Ok(format!("glasslog.local/{}", const_hex::encode(random)))
}

fn stores(settings: &LogSettings, places: &Places, disk: Arc<RealDisk>) -> Result<Stores, Failed> {
    let duplicates = places.dir.join("index").join("duplicates");
    disk.create_dir_all(&duplicates).with_context(|| format!("cannot use {}", duplicates.display()))?;
    let (objects, state): (Arc<dyn Objects>, Arc<dyn LogState>) = match &places.state {
        Some(state) => {
            let objects = FsObjects::open(Arc::new(RealDisk::public()), &places.public, &places.tmp)?;
            (
                Arc::new(objects),
                Arc::new(SegmentLogState::open(disk.clone(), state, SegmentOptions::default())?),
            )
        }
        // Objects that outlive their state would refuse the next start, rightly.
        None => (Arc::new(MemoryObjects::new()), Arc::new(MemoryLogState::new())),
    };
    let table = Table::open(disk, &duplicates)?;
    if settings.state == StatePlace::Memory {
        table.reset()?;
    }
    Ok(Stores { objects, state, duplicates: Arc::new(table) })
}

fn config(settings: &LogSettings, keys: &[SecretKey], log_keys: &[VerifierKey]) -> Result<LogConfig, Failed> {
    let cosigners = settings.cosigner_key.as_ref().map(|texts| witnesses::own_cosigners(texts, log_keys));
    let cosigners = cosigners.transpose()?.unwrap_or_default();
    let signer = |key| Ok::<_, Failed>(Arc::new(keys::log_signer(key)?) as Arc<dyn Signer>);
    Ok(LogConfig {
        origin: keys.first().map(|key| key.name().to_owned()).unwrap_or_default(),
        signers: keys.iter().map(signer).collect::<Result<_, _>>()?,
        personality: personality(settings)?,
        hasher: glasslog_hash::hasher(),
        checkpoint_interval: settings.checkpoint_interval,
        batch_max_size: settings.batch_max_size,
        batch_max_age: settings.batch_max_age,
        pool_max_bytes: settings.pool_max_bytes,
        backlog_max_bytes: settings.backlog_max_bytes,
        dedup: settings.dedup,
        partials_kept_for: PARTIALS_KEPT_FOR,
        cosigners: cosigners.into_iter().map(|signer| Arc::new(signer) as Arc<dyn Signer>).collect(),
        refresh_interval: REFRESH_INTERVAL,
        index: None,
    })
}

/// The verifiable index, by the map function of the schema or the field; also where it is switched off, for what it left.
fn index(settings: &LogSettings, places: &Places, disk: Arc<RealDisk>) -> Option<IndexConfig> {
    let IndexSettings { enabled, is_said, key_field, snapshot_interval } = &settings.index;
    let dir = places.dir.join("index").join("vindex");
    if !enabled && !is_said && dir.is_dir() {
        tracing::warn!(
            dir = %dir.display(),
            "this log had an index, and no setting says any more what it is indexed by: lookups are not answered. Give ENTRY_SCHEMA or \
             VINDEX_KEY_FIELD as before, or VINDEX_ENABLED=false if that is meant"
        );
    }
    let map_fn: Arc<dyn MapFunction> = match key_field {
        Some(field) => Arc::new(field.clone()),
        None if settings.conda => Arc::new(Conda1Map),
        None => return None,
    };
    Some(IndexConfig {
        map_fn,
        enabled: *enabled,
        anchor_timeout: IndexConfig::ANCHOR_TIMEOUT,
        bulk_from: IndexConfig::BULK_FROM,
        disk,
        dir,
        options: Options { snapshot_interval: *snapshot_interval, ..Options::default() },
    })
}

fn personality(settings: &LogSettings) -> Result<Option<Arc<dyn Personality>>, Failed> {
    if !settings.conda {
        return Ok(None);
    }
    if settings.repos.is_empty() {
        return Ok(Some(Arc::new(Conda1::any_repo())));
    }
    let repos: Result<Vec<Repo>, _> = settings.repos.iter().map(|repo| Repo::parse(repo)).collect();
    let repos = repos.context("ENTRY_REPOS").or_exit(Exit::Usage)?;
    Ok(Some(Arc::new(Conda1::only(&repos).context("ENTRY_REPOS").or_exit(Exit::Usage)?)))
}
