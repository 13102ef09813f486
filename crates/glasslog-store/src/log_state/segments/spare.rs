//! The next segment, made ahead of need, so that no commit waits for it; and what becomes of old ones.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use parking_lot::{Condvar, Mutex};

use super::{
    file::{Blocks, Segment},
    is_full,
};
use crate::disk::Disk;

/// Makes segments and disposes of them, on a thread of its own, or in the caller's (`background: false`) where tests
/// want every operation in its place.
pub(super) struct Spares {
    shared: Arc<Shared>,
    /// `None`: no thread.
    jobs: Option<(mpsc::Sender<Job>, JoinHandle<()>)>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    capacity: u64,
    next: Mutex<Next>,
    changed: Condvar,
    /// A segment whose batches have left, to be written over.
    old: Mutex<Option<Segment>>,
}

enum Next {
    NotAsked,
    Making,
    Ready(Segment),
    Failed(io::Error),
}

enum Job {
    Make(u64),
    Release(Arc<Segment>),
}

impl Spares {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        capacity: u64,
        background: bool,
    ) -> io::Result<Spares> {
        let next = Mutex::new(Next::NotAsked);
        let shared =
            Arc::new(Shared { disk, dir, capacity, next, changed: Condvar::new(), old: Mutex::new(None) });
        let jobs = background.then(|| start_worker(Arc::clone(&shared))).transpose()?;
        Ok(Spares { shared, jobs })
    }

    /// Asks for segment `number` ahead of need; once is enough.
    pub(super) fn prepare(&self, number: u64) {
        let mut next = self.shared.next.lock();
        if matches!(*next, Next::NotAsked) {
            *next = Next::Making;
            drop(next);
            self.submit(Job::Make(number));
        }
    }

    /// Whether a prepared segment waits.
    pub(super) fn is_ready(&self) -> bool {
        matches!(*self.shared.next.lock(), Next::Ready(_))
    }

    /// Segment `number`, with room for `payload_room` bytes of records: the prepared one, or made now.
    pub(super) fn take(&self, number: u64, payload_room: u64) -> io::Result<Segment> {
        let wanted = Segment::START + payload_room;
        match self.take_prepared() {
            Some(Ok(segment)) if segment.capacity >= wanted => Ok(segment),
            Some(Ok(small)) => {
                // One huge batch: the prepared one gives way, for numbers are used in order.
                self.shared.disk.remove(&small.path)?;
                self.make_now(number, wanted)
            }
            Some(Err(error)) if !is_full(&error) => Err(error),
            // It may have been full then and have room now.
            Some(Err(_)) | None => self.make_now(number, wanted),
        }
    }

    /// Gives up a segment that holds nothing that is needed.
    pub(super) fn release(&self, segment: Arc<Segment>) {
        self.submit(Job::Release(segment));
    }

    fn make_now(&self, number: u64, wanted: u64) -> io::Result<Segment> {
        let Shared { disk, dir, capacity, .. } = self.shared.as_ref();
        Segment::create(disk.as_ref(), dir, number, wanted.max(*capacity), Blocks::Reserved, |_| Ok(()))
    }

    fn take_prepared(&self) -> Option<io::Result<Segment>> {
        let mut next = self.shared.next.lock();
        while matches!(*next, Next::Making) {
            self.shared.changed.wait(&mut next);
        }
        match std::mem::replace(&mut *next, Next::NotAsked) {
            Next::Ready(segment) => Some(Ok(segment)),
            Next::Failed(error) => Some(Err(error)),
            Next::NotAsked | Next::Making => None,
        }
    }

    fn submit(&self, job: Job) {
        match &self.jobs {
            // The worker lives as long as this sender.
            Some((jobs, _)) => drop(jobs.send(job)),
            None => self.shared.run(job),
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        if let Some((jobs, worker)) = self.jobs.take() {
            drop(jobs);
            // A panic there has been reported by the thread itself.
            drop(worker.join());
        }
    }
}

fn start_worker(shared: Arc<Shared>) -> io::Result<(mpsc::Sender<Job>, JoinHandle<()>)> {
    let (sender, jobs) = mpsc::channel();
    let worker = std::thread::Builder::new().name("log-state-segments".into()).spawn(move || {
        for job in jobs {
            shared.run(job);
        }
    })?;
    Ok((sender, worker))
}

impl Shared {
    fn run(&self, job: Job) {
        match job {
            Job::Make(number) => {
                let made = self.make(number);
                *self.next.lock() = made.map_or_else(Next::Failed, Next::Ready);
                self.changed.notify_all();
            }
            Job::Release(segment) => self.dispose(segment),
        }
    }

    fn make(&self, number: u64) -> io::Result<Segment> {
        if let Some(old) = self.old.lock().take() {
            return old.recycle(self.disk.as_ref(), &self.dir, number);
        }
        Segment::create(self.disk.as_ref(), &self.dir, number, self.capacity, Blocks::Zeroed, |_| Ok(()))
    }

    /// Keeps one for the next `make`, unless somebody still reads it; removes the others.
    fn dispose(&self, segment: Arc<Segment>) {
        let path = segment.path.clone();
        let mut old = self.old.lock();
        if let Some(unused) = Arc::into_inner(segment)
            && old.is_none()
            && unused.capacity == self.capacity
            && unused.blocks == Blocks::Zeroed
        {
            *old = Some(unused);
            return;
        }
        drop(old);
        if let Err(error) = self.disk.remove(&path) {
            tracing::warn!(path = %path.display(), %error, "an old segment of the log state stays until the next start");
        }
    }
}
