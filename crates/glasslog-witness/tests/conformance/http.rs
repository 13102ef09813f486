//! HTTP/1.1 as bytes over TCP, so that a request can be wrong in any way.

use std::{
    io::{Error, ErrorKind, Read, Write},
    net::TcpStream,
    sync::mpsc,
    time::Duration,
};

/// How long anything may take before a check gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An answer. Its status is 0 when the connection ended before there was one.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    }

    fn cut_off() -> Answer {
        Answer { status: 0, head: String::new(), body: Vec::new() }
    }
}

/// `http://host[:port][/prefix]`, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Url {
    pub(crate) host: String,
    pub(crate) prefix: String,
}

impl Url {
    pub(crate) fn parse(url: &str) -> Url {
        let rest = url
            .strip_prefix("http://")
            .unwrap_or_else(|| panic!("{url}: the suite speaks plain http; put a proxy in front"));
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Url { host, prefix }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        self.try_connect().unwrap_or_else(|error| panic!("cannot connect to {}: {error}", self.host))
    }

    fn try_connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// The head of a request for `path`, without the empty line.
    pub(crate) fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} {}{path} HTTP/1.1\r\nHost: {}\r\n", self.prefix, self.host);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }

    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.request("POST", path, &[], body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.raw(format!("{}Connection: close\r\n\r\n", self.head("GET", path, &[])).as_bytes())
    }

    /// One request on a connection of its own.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let head = self.head(method, path, headers);
        let head = format!("{head}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        self.raw(&[head.as_bytes(), body].concat())
    }

    /// Sends bytes and reads one answer. A server may answer, and hang up, before it has read all.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        let _it_may_have_hung_up = stream.write_all(bytes);
        read_answer(&mut stream).unwrap_or_else(|_| Answer::cut_off())
    }
}

/// Reads one answer, and not a byte more, from a connection that may go on.
pub(crate) fn read_answer(stream: &mut TcpStream) -> std::io::Result<Answer> {
    loop {
        let head = read_head(stream)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
        let mut answer = Answer { status, head, body: Vec::new() };
        // 1xx answers come before the real one (RFC 9110 section 15.2).
        if (100..200).contains(&status) {
            continue;
        }
        let chunked = answer.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        let length = answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
        answer.body = match length {
            _ if chunked => read_chunks(stream)?,
            Some(length) => read_exactly(stream, length)?,
            None if matches!(status, 204 | 304) => Vec::new(),
            None => {
                let mut body = Vec::new();
                stream.read_to_end(&mut body)?;
                body
            }
        };
        return Ok(answer);
    }
}

fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read_exactly(stream, 1)?);
        if head.len() > 64 << 10 {
            return Err(Error::from(ErrorKind::InvalidData));
        }
    }
    head.truncate(head.len() - 4);
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn read_line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(read_exactly(stream, 1)?);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn read_chunks(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| Error::from(ErrorKind::InvalidData))?;
        body.extend(read_exactly(stream, length)?);
        read_line(stream)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn read_exactly(stream: &mut TcpStream, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Waits a moment before something is asked again; nothing is asserted about the time.
pub(crate) fn moment() {
    let (_never, wait) = mpsc::channel::<()>();
    let _pause = wait.recv_timeout(Duration::from_millis(5));
}
