//! A server of one object by HTTP, with the delays of an object store. It runs in a process of its own.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The time from a request to the first byte of the response.
pub(super) const LATENCY: Duration = Duration::from_millis(10);
/// The bytes a second of each connection.
pub(super) const BYTES_A_SECOND: u64 = 100_000_000;
/// The bytes that are sent at once.
const PIECE_BYTES: u64 = 256 << 10;

/// A running server.
pub(super) struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts this program as a server of the file.
    pub(super) fn start(file: &Path) -> Result<Server, String> {
        let start = || {
            let mut command = Command::new(env::current_exe()?);
            command.arg("serve").arg(file);
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            // Its drop ends the process.
            let mut server = Server {
                child: child?,
                address: String::new(),
            };
            if let Some(output) = server.child.stdout.take() {
                BufReader::new(output).read_line(&mut server.address)?;
            }
            Ok(server)
        };
        let server = start().map_err(|error: io::Error| format!("no server: {error}"))?;
        if server.address.is_empty() {
            return Err("the server ended".to_owned());
        }
        Ok(server)
    }

    /// Returns the URL without the name of the object.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address.trim())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends when its standard input does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Serves a file under any name, until standard input ends. Prints the address.
pub(crate) fn serve(file: &Path) -> Result<(), String> {
    let fault = |error: io::Error| format!("{}: {error}", file.display());
    // So that it is in the page cache.
    let mut object = File::open(file).map_err(fault)?;
    io::copy(&mut object, &mut io::sink()).map_err(fault)?;
    let path = Arc::new(file.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let path = Arc::clone(&path);
            // A client that goes away is no failure.
            thread::spawn(move || answer_all(&stream, &path));
        }
    });
    println!("{address}");
    io::copy(&mut io::stdin(), &mut io::sink()).map_err(|error| error.to_string())?;
    Ok(())
}

/// Answers the requests of a connection.
fn answer_all(stream: &TcpStream, path: &Path) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next() {
        let request = request?;
        let mut range = None;
        for line in lines.by_ref() {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            range = line.strip_prefix("range: bytes=").and_then(parse).or(range);
        }
        let start = Instant::now();
        thread::sleep(LATENCY);
        let range = range.map(|range| range.start..range.end.min(len));
        let head = match &range {
            Some(Range { start, end }) => format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{len}\r\nContent-Length: {}",
                end - 1,
                end - start
            ),
            None => format!("200 OK\r\nContent-Length: {len}"),
        };
        write!(&*stream, "HTTP/1.1 {head}\r\nETag: \"1\"\r\n\r\n")?;
        if request.starts_with("GET ") {
            send(&mut file, range.unwrap_or(0..len), stream, start + LATENCY)?;
        }
    }
    Ok(())
}

fn parse(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
}

/// Sends bytes of the file, no faster than a connection is.
fn send(
    file: &mut File,
    bytes: Range<u64>,
    mut stream: &TcpStream,
    start: Instant,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(bytes.start))?;
    let (mut sent, all) = (0, bytes.end - bytes.start);
    while sent < all {
        let piece = PIECE_BYTES.min(all - sent);
        io::copy(&mut (&mut *file).take(piece), &mut stream)?;
        sent += piece;
        let due = start + Duration::from_nanos(sent * 1_000_000_000 / BYTES_A_SECOND);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
