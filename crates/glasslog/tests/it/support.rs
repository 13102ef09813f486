//! A log under test: the real binary, a directory of its own, HTTP spoken by hand.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command, with an environment that says nothing about logs and a home of its own.
pub(crate) fn glasslog(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glasslog"));
    keep_to(&mut command, home);
    command
}

/// Lets `command` see nothing of this machine's settings.
pub(crate) fn keep_to(command: &mut Command, home: &Path) {
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(home);
}

/// Exit code, stdout and stderr of a command that ends by itself.
pub(crate) fn run(home: &Path, args: &[&str]) -> (i32, String, String) {
    let output = glasslog(home).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A directory for a log, its clients and whatever else a test needs.
pub(crate) fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A running `glasslog serve`, or `glasslog witness`. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    /// The log's origin; the witness's name.
    pub(crate) origin: String,
    pub(crate) vkey: String,
    /// Its other keys, which stand directly below the first.
    pub(crate) more_vkeys: Vec<String>,
    stderr: PathBuf,
}

impl Server {
    /// Starts one on any free port, with a short checkpoint interval.
    pub(crate) fn start(home: &Path, args: &[&str]) -> Server {
        Server::try_start(home, args).unwrap_or_else(|(status, stderr)| panic!("{status:?}: {stderr}"))
    }

    /// The same; exit status and stderr when it ends before it listens.
    pub(crate) fn try_start(home: &Path, args: &[&str]) -> Result<Server, (ExitStatus, String)> {
        Server::spawn(home, glasslog(home), args)
    }

    /// The same under another program, for example strace.
    pub(crate) fn spawn(
        home: &Path,
        command: Command,
        args: &[&str],
    ) -> Result<Server, (ExitStatus, String)> {
        Server::spawn_service(home, command, "serve", args)
    }

    /// A running `glasslog witness` on any free port.
    pub(crate) fn witness(home: &Path, args: &[&str]) -> Server {
        Server::try_witness(home, args).unwrap_or_else(|(status, stderr)| panic!("{status:?}: {stderr}"))
    }

    /// The same; exit status and stderr when it ends before it listens.
    pub(crate) fn try_witness(home: &Path, args: &[&str]) -> Result<Server, (ExitStatus, String)> {
        Server::spawn_service(home, glasslog(home), "witness", args)
    }

    /// Either one, under another program.
    pub(crate) fn spawn_service(
        home: &Path,
        mut command: Command,
        service: &str,
        args: &[&str],
    ) -> Result<Server, (ExitStatus, String)> {
        let stderr = home.join(format!("stderr-{}", fresh_number()));
        // In the environment, so that flags and settings files of a test go before them.
        command.env("LISTEN_ADDR", "127.0.0.1:0");
        if !args.contains(&"--config") {
            command.env("CHECKPOINT_INTERVAL", "20ms");
        }
        let mut child = command
            .arg(service)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&stderr).unwrap())
            // Of its own, so that what a wrapper started is killed with it.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut value = |what: &str| {
            let line = lines.next().and_then(Result::ok).unwrap_or_default();
            let value = line.trim().strip_prefix(what).map(|rest| rest.trim().to_owned());
            value.map(|value| value.split("  (").next().unwrap_or_default().to_owned())
        };
        let name = if service == "serve" { "origin" } else { "name" };
        let (url, origin, vkey) = (value("listening on"), value(name), value("vkey"));
        let mut more_vkeys = Vec::new();
        if service == "witness" {
            while let Some(vkey) = value("vkey") {
                more_vkeys.push(vkey);
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        match (url, origin, vkey) {
            (Some(url), Some(origin), Some(vkey)) => {
                Ok(Server { child, url, origin, vkey, more_vkeys, stderr })
            }
            _ => {
                let status = child.wait().unwrap();
                Err((status, std::fs::read_to_string(&stderr).unwrap_or_default()))
            }
        }
    }

    /// What it wrote to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(mut self, signal: rustix::process::Signal) -> (ExitStatus, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        let status = self.child.wait().unwrap();
        (status, self.stderr())
    }

    /// SIGTERM, and a good end.
    pub(crate) fn stop(self) -> String {
        let (status, stderr) = self.end(rustix::process::Signal::TERM);
        assert_eq!(status.code(), Some(0), "{stderr}");
        stderr
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// Any signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// kill -9, of the whole process group.
    pub(crate) fn kill(mut self) {
        self.kill_group();
    }

    /// The exit status, once it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    fn kill_group(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _may_have_ended = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let _reaped = self.child.wait();
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        request(&format!("{}{path}", self.url), "GET", &[], b"").unwrap()
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        request(&format!("{}{path}", self.url), "POST", headers, body).unwrap()
    }

    /// Adds one entry and returns its index.
    pub(crate) fn add(&self, entry: &[u8]) -> u64 {
        let answer = self.post("/add", &[], entry);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().trim().parse().unwrap()
    }

    /// The public checkpoint: size, and the note.
    pub(crate) fn checkpoint(&self) -> (u64, String) {
        // A new log takes entries a moment before its first checkpoint is public.
        let note = poll(|| Some(self.get("/checkpoint")).filter(|answer| answer.status != 404)).text();
        (size_of(&note), note)
    }

    /// Waits until a public checkpoint covers `size` entries; a log with witnesses may have none at first.
    pub(crate) fn wait_for_size(&self, size: u64) -> String {
        poll(|| {
            let answer = self.get("/checkpoint");
            let note = (answer.status == 200).then(|| answer.text())?;
            (size_of(&note) >= size).then_some(note)
        })
    }

    /// Every public entry that is no anchor of the log's index.
    pub(crate) fn records(&self) -> Vec<Vec<u8>> {
        let entries = self.entries(self.checkpoint().0).into_iter();
        entries.filter(|entry| !glasslog_core::anchor::is_anchor_form(entry)).collect()
    }

    /// Every entry below `size`, from the bundles.
    pub(crate) fn entries(&self, size: u64) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        for bundle in 0..size.div_ceil(256) {
            let width = (size - bundle * 256).min(256);
            let suffix = if width < 256 { format!(".p/{width}") } else { String::new() };
            let answer = self.get(&format!("/tile/entries/{}{suffix}", path_number(bundle)));
            assert_eq!(answer.status, 200, "bundle {bundle} of {size}");
            let mut rest = &answer.body[..];
            while let [high, low, tail @ ..] = rest {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                entries.push(tail[..length].to_vec());
                rest = &tail[length..];
            }
        }
        assert_eq!(entries.len() as u64, size);
        entries
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Asks again until there is an answer; gives up after [`PATIENCE`].
pub(crate) fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    let (never, wait) = mpsc::channel::<()>();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "still waiting after {PATIENCE:?}");
        let _pause = wait.recv_timeout(Duration::from_millis(5));
        let _still_there = &never;
    }
}

/// The size in a checkpoint's second line.
pub(crate) fn size_of(note: &str) -> u64 {
    note.lines()
        .nth(1)
        .and_then(|line| line.parse().ok())
        .unwrap_or_else(|| panic!("not a checkpoint: {note:?}"))
}

/// `1234067` is `x001/x234/067` (c2sp.org/tlog-tiles).
pub(crate) fn path_number(number: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request on a connection of its own.
pub(crate) fn request(
    url: &str,
    method: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let cut_off = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(cut_off)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut_off)?;
    let body = answer[end + 4..].to_vec();
    let announced = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if announced.is_some_and(|announced| announced != body.len()) {
        return Err(cut_off());
    }
    Ok(Answer { status, head, body })
}

/// Writes a file below `home` and returns its path.
pub(crate) fn write(home: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = home.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(&path).unwrap().write_all(content).unwrap();
    path
}

/// A number that no other call of this test program got.
pub(crate) fn fresh_number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
