//! A disk that can be made to fail, and a driver without threads: how the inbox is tested, here and by its users.
//!
//! [`SimFiles`] keeps what was synced apart from what was not. [`SimFiles::crash`] gives the disk that the next start
//! would find: everything synced, and a random part of the rest in pieces of 512 bytes or 4 KiB, later ones perhaps
//! without earlier ones; names too. A failed sync drops a part of the unsynced bytes for good, as kernels do.
//! One seed is one run.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;

use super::{
    FileHandle, Files, InboxError, InboxOptions, InboxStats, Position, Recovery,
    recover::recover,
    stock::{Stock, lock},
    writer::{Committer, Pending},
};

/// A small seeded source of chance (splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Starts a sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Draws a number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound.max(1) as u64) as usize
    }

    /// Is true in so many of a hundred draws.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What the inbox does to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Making a file, zeroes included.
    Create,
    /// Writing into one.
    Write,
    /// Reading from one.
    Read,
    /// Syncing one.
    Sync,
    /// Renaming one.
    Rename,
    /// Removing one.
    Remove,
    /// Syncing the directory.
    SyncDir,
}

/// How an operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// `ENOSPC`.
    NoSpace,
    /// `EIO`.
    Io,
    /// `EINTR`.
    Interrupted,
    /// A write of only some of the bytes, which is no error. Other operations are not touched.
    Short,
}

/// Trouble for `count` operations of a kind, after `skip` that go well.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Which operations.
    pub operation: Operation,
    /// How many of them go well first.
    pub skip: u64,
    /// How many then do not.
    pub count: u64,
    /// What happens to those.
    pub trouble: Trouble,
}

/// A simulated directory. Clones are the same directory.
#[derive(Clone)]
pub struct SimFiles {
    disk: Arc<Mutex<Disk>>,
}

struct Disk {
    files: Vec<SimFile>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameChange>,
    faults: Vec<Fault>,
    capacity_bytes: u64,
    /// Operations left until the power goes.
    power_left: Option<u64>,
    chance: Chance,
}

#[derive(Default)]
struct SimFile {
    /// What a crash leaves for certain.
    synced: Vec<u8>,
    /// What a reader sees.
    current: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

/// How an operation that was let through goes on.
#[derive(PartialEq, Eq)]
enum Way {
    Well,
    Short,
    /// It happens, and then the power goes.
    LastOne,
}

impl SimFiles {
    /// Makes an empty directory.
    pub fn new(seed: u64) -> Self {
        Self::with_files(Vec::new(), BTreeMap::new(), Chance::new(seed))
    }

    fn with_files(files: Vec<SimFile>, names: BTreeMap<String, usize>, chance: Chance) -> Self {
        let disk = Disk {
            files,
            synced_names: names.clone(),
            names,
            unsynced_names: Vec::new(),
            faults: Vec::new(),
            capacity_bytes: u64::MAX,
            power_left: None,
            chance,
        };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Adds trouble to come.
    pub fn fail(&self, fault: Fault) {
        self.disk().faults.push(fault);
    }

    /// Takes back all trouble to come.
    pub fn heal(&self) {
        self.disk().faults.clear();
    }

    /// Sets how many bytes of files there is room for.
    pub fn set_capacity_bytes(&self, capacity_bytes: u64) {
        self.disk().capacity_bytes = capacity_bytes;
    }

    /// Lets `operation_count` more operations happen. After them everything fails.
    pub fn cut_power_after(&self, operation_count: u64) {
        self.disk().power_left = Some(operation_count);
    }

    /// Whether the power is gone.
    pub fn is_dark(&self) -> bool {
        self.disk().power_left == Some(0)
    }

    /// Gives the directory as a power loss at this moment might leave it. The one at hand is not changed.
    pub fn crash(&self, seed: u64) -> Self {
        let disk = self.disk();
        let mut chance = Chance::new(seed);
        // A disk that wrote back nearly everything, or nearly nothing, is as likely as one in between.
        let kept_percent = [0, 10, 50, 90, 100][chance.below(5)];
        let mut names = disk.synced_names.clone();
        for change in &disk.unsynced_names {
            if chance.percent(kept_percent) {
                change.apply(&mut names);
            }
        }
        let files = disk.files.iter().map(|file| file.after_crash(kept_percent, &mut chance)).collect();
        Self::with_files(files, names, chance)
    }

    /// Names all files, in order.
    pub fn names(&self) -> Vec<String> {
        self.disk().names.keys().cloned().collect()
    }

    /// Reads a file as it is now. Empty if there is none.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let disk = self.disk();
        disk.names.get(name).map(|id| disk.files[*id].current.clone()).unwrap_or_default()
    }

    /// Replaces or makes a file, durably.
    pub fn put(&self, name: &str, contents: Vec<u8>) {
        let mut disk = self.disk();
        disk.files.push(SimFile { synced: contents.clone(), current: contents, unsynced: Vec::new() });
        let id = disk.files.len() - 1;
        disk.names.insert(name.to_owned(), id);
        disk.synced_names.insert(name.to_owned(), id);
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }
}

impl Disk {
    /// Decides how the next operation goes.
    fn begin(&mut self, operation: Operation) -> io::Result<Way> {
        if self.power_left == Some(0) {
            return Err(io_error());
        }
        let mut trouble = None;
        for fault in self.faults.iter_mut().filter(|fault| fault.operation == operation) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.count > 0 {
                fault.count -= 1;
                trouble = Some(fault.trouble);
            }
        }
        match trouble {
            Some(Trouble::NoSpace) => return Err(io::ErrorKind::StorageFull.into()),
            Some(Trouble::Io) => return Err(io_error()),
            Some(Trouble::Interrupted) => return Err(io::ErrorKind::Interrupted.into()),
            Some(Trouble::Short) => return Ok(Way::Short),
            None => {}
        }
        if operation != Operation::Read
            && let Some(left) = &mut self.power_left
        {
            *left -= 1;
            if *left == 0 {
                return Ok(Way::LastOne);
            }
        }
        Ok(Way::Well)
    }

    fn change_name(&mut self, change: NameChange, way: &Way) -> io::Result<()> {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
        if *way == Way::LastOne { Err(io_error()) } else { Ok(()) }
    }
}

impl SimFile {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        overlay(&mut self.current, offset, bytes);
        self.unsynced.push((offset, bytes.to_vec()));
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.current);
        self.unsynced.clear();
    }

    fn after_crash(&self, kept_percent: usize, chance: &mut Chance) -> Self {
        let mut synced = self.synced.clone();
        let piece_bytes = if chance.percent(50) { 512 } else { 4096 };
        let mut pieces = Vec::new();
        for (offset, bytes) in &self.unsynced {
            let mut at = 0;
            while at < bytes.len() {
                // Pieces end where sectors or pages of the disk do.
                let end = bytes.len().min((offset + at + 1).next_multiple_of(piece_bytes) - offset);
                pieces.push((offset + at, &bytes[at..end]));
                at = end;
            }
        }
        for last in (1..pieces.len()).rev() {
            pieces.swap(last, chance.below(last + 1));
        }
        for (offset, bytes) in pieces {
            if chance.percent(kept_percent) {
                overlay(&mut synced, offset, bytes);
            }
        }
        Self { current: synced.clone(), synced, unsynced: Vec::new() }
    }
}

impl NameChange {
    /// Applies the change, if what it needs is there.
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Files for SimFiles {
    fn create(&self, name: &str, file_bytes: u64) -> io::Result<Box<dyn FileHandle>> {
        let mut disk = self.disk();
        let used_bytes: u64 = disk.names.values().map(|id| disk.files[*id].current.len() as u64).sum();
        let way = disk.begin(Operation::Create)?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let room_bytes = disk.capacity_bytes.saturating_sub(used_bytes);
        let mut file = SimFile::default();
        file.write(0, &vec![0; file_bytes.min(room_bytes) as usize]);
        disk.files.push(file);
        let id = disk.files.len() - 1;
        disk.change_name(NameChange::Create(name.to_owned(), id), &way)?;
        if file_bytes > room_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Box::new(SimHandle { disk: Arc::clone(&self.disk), id }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn FileHandle>> {
        let id = *self.disk().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimHandle { disk: Arc::clone(&self.disk), id }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let way = disk.begin(Operation::Rename)?;
        if !disk.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change_name(NameChange::Rename(from.to_owned(), to.to_owned()), &way)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let way = disk.begin(Operation::Remove)?;
        if !disk.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        disk.change_name(NameChange::Remove(name.to_owned()), &way)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.begin(Operation::SyncDir)? == Way::LastOne {
            return Err(io_error());
        }
        disk.synced_names = disk.names.clone();
        disk.unsynced_names.clear();
        Ok(())
    }
}

struct SimHandle {
    disk: Arc<Mutex<Disk>>,
    id: usize,
}

impl FileHandle for SimHandle {
    fn file_bytes(&self) -> io::Result<u64> {
        Ok(lock(&self.disk).files[self.id].current.len() as u64)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = lock(&self.disk);
        let way = disk.begin(Operation::Write)?;
        let written = if way == Way::Short { bytes.len().div_ceil(3) } else { bytes.len() };
        disk.files[self.id].write(offset as usize, &bytes[..written]);
        if way == Way::LastOne { Err(io_error()) } else { Ok(written) }
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut disk = lock(&self.disk);
        disk.begin(Operation::Read)?;
        let current = disk.files[self.id].current.get(offset as usize..).unwrap_or_default();
        let read = current.len().min(bytes.len());
        bytes[..read].copy_from_slice(&current[..read]);
        Ok(read)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        match disk.begin(Operation::Sync) {
            Ok(Way::LastOne) => Err(io_error()),
            Ok(_) => {
                disk.files[self.id].sync();
                Ok(())
            }
            Err(error) => {
                // Some of it got there, the rest never will, and the next sync will not say so.
                let mut chance = disk.chance.clone();
                let file = &mut disk.files[self.id];
                file.synced = file.after_crash(50, &mut chance).synced;
                file.unsynced.clear();
                disk.chance = chance;
                Err(error)
            }
        }
    }
}

/// The inbox without its threads, so that a seed replays. It writes, prepares and recovers with the same code.
pub struct Driver {
    stock: Arc<Stock>,
    committer: Committer,
    record_bytes_max: u32,
}

impl Driver {
    /// Opens as [`super::Inbox::open`] does.
    pub fn open(
        files: Arc<dyn Files>,
        options: &InboxOptions,
        recovered: impl FnMut(Position, Vec<u8>),
    ) -> Result<(Self, Recovery), InboxError> {
        options.check()?;
        let (stock, recovery) = recover(files, options, recovered)?;
        let stock = Arc::new(stock);
        let committer = Committer::new(Arc::clone(&stock));
        Ok((Self { stock, committer, record_bytes_max: options.record_bytes_limit() }, recovery))
    }

    /// Commits one batch, as the writer thread would.
    pub fn commit(&mut self, records: &[Vec<u8>]) -> Vec<Result<Position, InboxError>> {
        let pending = |record: &Vec<u8>| Pending::new(vec![Bytes::copy_from_slice(record)], self.record_bytes_max);
        let batch: Result<Vec<_>, _> = records.iter().map(pending).collect();
        let mut answers = Vec::new();
        match batch {
            Ok(batch) => self.committer.commit(&batch, |answer| answers.push(answer)),
            Err(error) => answers.resize_with(records.len(), || Err(error.clone())),
        }
        answers
    }

    /// Prepares and tidies once, as the other thread would.
    pub fn maintain(&self) {
        self.stock.maintain();
    }

    /// See [`super::Inbox::release`].
    pub fn release(&self, position: Position) {
        self.stock.release(position);
    }

    /// See [`super::Inbox::read`].
    pub fn read(&self, position: Position) -> Result<Vec<u8>, InboxError> {
        self.stock.read_into(position, Vec::new())
    }

    /// See [`super::Inbox::stats`].
    pub fn stats(&self) -> InboxStats {
        self.stock.stats()
    }

    /// Closes in order, as [`super::Inbox::close`] does.
    pub fn close(mut self) {
        self.committer.close();
        self.stock.shut();
    }
}

fn overlay(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

fn io_error() -> io::Error {
    io::Error::other("simulated input/output error")
}
