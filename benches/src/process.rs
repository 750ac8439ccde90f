//! Servers as processes: starting them, what they cost, and ending them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ticks per second of the times in `/proc/PID/stat`: what Linux has shown to programs for decades.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

/// A server of ours: it says on its first line where it listens.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Self { child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Seconds of processor time so far, its children included.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        family(self.id()).into_iter().map(own_cpu_seconds).sum()
    }

    /// Highest resident memory so far, in MB.
    pub(crate) fn peak_mb(&self) -> anyhow::Result<f64> {
        status_mb(self.id(), "VmHWM:")
    }

    /// Resident memory now, in MB.
    pub(crate) fn resident_mb(&self) -> anyhow::Result<f64> {
        status_mb(self.id(), "VmRSS:")
    }

    /// Starts the highest resident memory anew.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5")?)
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) fn stop(mut self, signal: &str) -> anyhow::Result<()> {
        Command::new("kill").args([signal, &self.id().to_string()]).status()?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one of the servers this program is made of.
    pub(crate) fn party(name: &str, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--party", name]).args(arguments);
        Self::start(&mut command)
    }

    /// Starts the release binary on a store.
    pub(crate) fn reelcase(binary: &Path, data: &Path) -> anyhow::Result<Self> {
        Self::reelcase_with(binary, data, &[])
    }

    /// Starts the release binary on a store, with further arguments.
    pub(crate) fn reelcase_with(binary: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(arguments);
        command.env("REELCASE_LOG", "warn");
        Self::start(&mut command)
    }

    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut process = Process::start(command.stdout(Stdio::piped()))?;
        let mut line = String::new();
        let output = process.child.stdout.take().context("no output to read the address from")?;
        BufReader::new(output).read_line(&mut line)?;
        let url = line.trim().rsplit("http://").next().unwrap_or_default();
        let (address, token) = url.split_once("/?token=").unwrap_or((url, ""));
        let address = address.parse().with_context(|| format!("no address in {line:?}"))?;
        Ok(Self { process, address, token: token.to_owned() })
    }
}

/// Makes an empty store.
pub(crate) fn new_store(binary: &Path, data: &Path) -> anyhow::Result<()> {
    Server::reelcase(binary, data)?.process.stop("-TERM")
}

/// Waits until something answers at `address`, looking every millisecond.
pub(crate) fn wait_for(address: SocketAddr) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    loop {
        match std::net::TcpStream::connect(address) {
            Ok(_) => return Ok(begin.elapsed()),
            Err(error) if begin.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("nobody listens on {address}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// A free port, as long as nobody takes it meanwhile.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Seconds of processor time of all processes that were started and have ended, and of what little is done here meanwhile.
pub(crate) fn ended_cpu_seconds() -> anyhow::Result<f64> {
    own_cpu_seconds(std::process::id())
}

/// Seconds of processor time of the calling thread.
pub(crate) fn thread_cpu_seconds() -> anyhow::Result<f64> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: u64 = schedstat.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds as f64 / 1e9)
}

/// The process and all that descend from it.
fn family(id: u32) -> Vec<u32> {
    let mut members = vec![id];
    let mut at = 0;
    while let Some(member) = members.get(at).copied() {
        let tasks = std::fs::read_dir(format!("/proc/{member}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            members.extend(children.split(' ').filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    members
}

/// User and system time of a process and of its children that have ended.
fn own_cpu_seconds(id: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).with_context(|| format!("process {id} is gone"))?;
    // The name in parentheses may hold anything; utime, stime, cutime and cstime are the 12th to 15th field behind it.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: f64 = fields.skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

fn status_mb(id: u32, name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field of the status")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1_024.0 / 1e6)
}
