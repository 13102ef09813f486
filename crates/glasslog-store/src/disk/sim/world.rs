//! What the simulated disk holds: durable, pending and current, and the images that a loss of power may leave.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Component, Path, PathBuf},
};

use super::Fault;

/// What an operation does, and so which faults can strike it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Write,
    /// A write into what is allocated: the only one that a full disk does not refuse.
    Overwrite,
    Name,
    Remove,
    Sync,
}

#[derive(Clone)]
pub(super) struct World {
    seed: u64,
    inodes: Vec<Inode>,
    dirs: Vec<Dir>,
    pub(super) crashed: bool,
    pub(super) operations: u64,
    pub(super) faults: Vec<(u64, Fault)>,
    pub(super) struck_at: Option<u64>,
    pub(super) full: bool,
}

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    pending: Vec<Pending>,
    current: Vec<u8>,
}

#[derive(Clone)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Extend(usize),
}

#[derive(Clone, Default)]
struct Dir {
    durable: BTreeMap<String, Node>,
    pending: Vec<(String, Option<Node>)>,
    current: BTreeMap<String, Node>,
}

#[derive(Clone, Copy)]
enum Node {
    File(usize),
    Dir(usize),
}

impl Node {
    fn file(&self) -> Option<usize> {
        if let Node::File(inode) = self { Some(*inode) } else { None }
    }
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let dirs = vec![Dir::default()];
        World {
            seed,
            inodes: Vec::new(),
            dirs,
            crashed: false,
            operations: 0,
            faults: Vec::new(),
            struck_at: None,
            full: false,
        }
    }

    /// Counts an operation and lets a fault strike it.
    pub(super) fn begin(&mut self, kind: Kind) -> io::Result<()> {
        self.alive()?;
        self.operations += 1;
        let now = self.operations;
        let strikes = |fault: Fault| match fault {
            Fault::Crash => true,
            Fault::SyncError => kind == Kind::Sync,
            Fault::Full => matches!(kind, Kind::Write | Kind::Overwrite | Kind::Name),
            Fault::WriteError => matches!(kind, Kind::Write | Kind::Overwrite),
        };
        let Some(hit) = self.faults.iter().position(|(at, fault)| *at <= now && strikes(*fault)) else {
            let no_room = self.full && matches!(kind, Kind::Write | Kind::Name);
            return if no_room { Err(error_of(Fault::Full)) } else { Ok(()) };
        };
        let (_, fault) = self.faults.swap_remove(hit);
        self.struck_at = Some(now);
        self.crashed |= fault == Fault::Crash;
        Err(error_of(fault))
    }

    pub(super) fn revive(&mut self) {
        self.crashed = false;
        self.faults.clear();
    }

    pub(super) fn make_dirs(&mut self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut made = Vec::new();
        let (mut at, mut path) = (0, PathBuf::from("/"));
        for name in names(dir)? {
            path.push(&name);
            at = match self.dirs[at].current.get(&name).copied() {
                Some(Node::Dir(next)) => next,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    self.begin(Kind::Name)?;
                    self.dirs.push(Dir::default());
                    let next = self.dirs.len() - 1;
                    self.dirs[at].change(&name, Some(Node::Dir(next)));
                    made.push(path.clone());
                    next
                }
            };
        }
        Ok(made)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        if self.exists(path)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (dir, name) = self.place(path)?;
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.dirs[dir].change(&name, Some(Node::File(inode)));
        Ok(inode)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.node(path)? {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.node(path)?.is_some())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.file(from)?;
        let (from_dir, from_name) = self.place(from)?;
        let (to_dir, to_name) = self.place(to)?;
        self.dirs[to_dir].change(&to_name, Some(Node::File(inode)));
        self.dirs[from_dir].change(&from_name, None);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        let (dir, name) = self.place(path)?;
        self.dirs[dir].change(&name, None);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let Some(Node::Dir(removed)) = self.node(path)? else { return Err(io::ErrorKind::NotFound.into()) };
        if !self.dirs[removed].current.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = self.place(path)?;
        self.dirs[dir].change(&name, None);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path, outcome: io::Result<()>) -> io::Result<()> {
        let Some(Node::Dir(dir)) = self.node(path)? else { return Err(io::ErrorKind::NotFound.into()) };
        self.spare_crash(&outcome)?;
        let Dir { durable, pending, .. } = &mut self.dirs[dir];
        for (name, node) in pending.drain(..) {
            if outcome.is_ok() {
                set(durable, name, node);
            }
        }
        outcome
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        match self.node(path)? {
            Some(Node::Dir(dir)) => Ok(self.dirs[dir].current.keys().cloned().collect()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Ok(Vec::new()),
        }
    }

    pub(super) fn content(&self, inode: usize) -> io::Result<&[u8]> {
        self.alive()?;
        Ok(&self.inodes[inode].current)
    }

    pub(super) fn write(
        &mut self,
        inode: usize,
        bytes: &[u8],
        offset: u64,
        outcome: io::Result<()>,
    ) -> io::Result<()> {
        self.spare_crash(&outcome)?;
        let done = if outcome.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.inodes[inode].change(Pending::Write { offset, bytes: done.to_vec() });
        outcome
    }

    pub(super) fn extend(&mut self, inode: usize, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.inodes[inode].change(Pending::Extend(len));
        Ok(())
    }

    pub(super) fn sync(&mut self, inode: usize, outcome: io::Result<()>) -> io::Result<()> {
        self.spare_crash(&outcome)?;
        let Inode { durable, pending, .. } = &mut self.inodes[inode];
        for change in pending.drain(..) {
            if outcome.is_ok() {
                change.apply(durable);
            }
        }
        outcome
    }

    pub(super) fn rot(&mut self, path: &Path, offset: usize) -> io::Result<()> {
        let inode = self.file(path)?;
        let Inode { durable, current, .. } = &mut self.inodes[inode];
        *current.get_mut(offset).ok_or(io::ErrorKind::UnexpectedEof)? ^= 1;
        if let Some(byte) = durable.get_mut(offset) {
            *byte ^= 1;
        }
        Ok(())
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut dirs = VecDeque::from([(0, PathBuf::from("/"))]);
        while let Some((dir, path)) = dirs.pop_front() {
            for (name, node) in &self.dirs[dir].current {
                match node {
                    Node::File(inode) => found.push((path.join(name), self.inodes[*inode].current.clone())),
                    Node::Dir(inner) => dirs.push_back((*inner, path.join(name))),
                }
            }
        }
        found
    }

    /// One disk as it may be found after the power failed: 0 keeps nothing unsynced, 1 everything.
    pub(super) fn image(&self, which: usize) -> World {
        let mut dice = Dice(self.seed ^ (which as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut keep = Keep::of(which, &mut dice);
        let dirs: Vec<Dir> = self.dirs.iter().map(|dir| dir.image(&mut keep, &mut dice)).collect();
        let mut inodes = vec![Inode::default(); self.inodes.len()];
        // Content without a name is nothing that anyone can find.
        for inode in dirs.iter().flat_map(|dir| dir.current.values()).filter_map(Node::file) {
            inodes[inode] = self.inodes[inode].image(&mut keep, &mut dice);
        }
        let seed = dice.next();
        World {
            seed,
            inodes,
            dirs,
            crashed: false,
            operations: 0,
            faults: Vec::new(),
            struck_at: None,
            full: self.full,
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(error_of(Fault::Crash)) } else { Ok(()) }
    }

    /// After a crash an operation has no effect at all; after another fault it may have a partial one.
    fn spare_crash(&self, outcome: &io::Result<()>) -> io::Result<()> {
        if outcome.is_err() { self.alive() } else { Ok(()) }
    }

    fn node(&self, path: &Path) -> io::Result<Option<Node>> {
        self.alive()?;
        let mut at = Node::Dir(0);
        for name in names(path)? {
            let Node::Dir(dir) = at else { return Err(io::ErrorKind::NotADirectory.into()) };
            match self.dirs[dir].current.get(&name) {
                Some(next) => at = *next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The directory that holds `path`, and its name there.
    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = names(path)?.pop().ok_or(io::ErrorKind::InvalidInput)?;
        match self.node(path.parent().unwrap_or(Path::new("/")))? {
            Some(Node::Dir(dir)) => Ok((dir, name)),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Inode {
    fn change(&mut self, change: Pending) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    fn image(&self, keep: &mut Keep, dice: &mut Dice) -> Inode {
        let mut content = self.durable.clone();
        for change in &self.pending {
            match change {
                Pending::Extend(_) if keep.keeps(dice) => change.apply(&mut content),
                Pending::Extend(_) => {}
                Pending::Write { offset, bytes } => {
                    for (offset, sector) in sectors(*offset, bytes, keep.sector) {
                        if keep.keeps(dice) {
                            Pending::Write { offset, bytes: sector.to_vec() }.apply(&mut content);
                        }
                    }
                }
            }
        }
        // The length may have become durable before the data: the rest reads as zeros.
        if self.current.len() > content.len() && keep.keeps(dice) {
            content.resize(self.current.len(), 0);
        }
        Inode { current: content.clone(), durable: content, pending: Vec::new() }
    }
}

impl Pending {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Pending::Extend(len) => content.resize(content.len().max(*len), 0),
            Pending::Write { offset, bytes } => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Dir {
    fn change(&mut self, name: &str, node: Option<Node>) {
        set(&mut self.current, name.to_owned(), node);
        self.pending.push((name.to_owned(), node));
    }

    fn image(&self, keep: &mut Keep, dice: &mut Dice) -> Dir {
        let mut names = self.durable.clone();
        for (name, node) in &self.pending {
            if keep.keeps(dice) {
                set(&mut names, name.clone(), *node);
            }
        }
        Dir { current: names.clone(), durable: names, pending: Vec::new() }
    }
}

/// How much of what was not synced an image keeps.
struct Keep {
    /// Out of 16.
    chance: u64,
    sector: usize,
}

impl Keep {
    fn of(which: usize, dice: &mut Dice) -> Keep {
        let chance = match which {
            0 => 0,
            1 => 16,
            _ => [2, 8, 14][usize::try_from(dice.next() % 3).unwrap_or(0)],
        };
        Keep { chance, sector: if dice.next().is_multiple_of(2) { 512 } else { 4096 } }
    }

    fn keeps(&mut self, dice: &mut Dice) -> bool {
        dice.next() % 16 < self.chance
    }
}

/// splitmix64: enough to choose with, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// `bytes`, to be written at `offset`, cut where the sectors of the disk end.
fn sectors(offset: usize, bytes: &[u8], sector: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let room = sector - (offset + at) % sector;
        let piece = bytes.get(at..bytes.len().min(at + room)).filter(|piece| !piece.is_empty())?;
        let start = offset + at;
        at += piece.len();
        Some((start, piece))
    })
}

fn set(names: &mut BTreeMap<String, Node>, name: String, node: Option<Node>) {
    match node {
        Some(node) => names.insert(name, node),
        None => names.remove(&name),
    };
}

/// The names on the way to `path`; `.` and the root are none.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::Crash => io::Error::other("the simulated process has died"),
        Fault::SyncError => io::Error::other("simulated failure of a sync"),
        Fault::Full => io::ErrorKind::StorageFull.into(),
        Fault::WriteError => io::Error::other("simulated failure of a write"),
    }
}
