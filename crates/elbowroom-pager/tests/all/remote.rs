//! Objects of object stores: in memory, and behind an HTTP server that misbehaves on command.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use elbowroom::page_size;
use elbowroom_pager::{Error, PagedArray, RemoteStore};
use object_store::http::HttpBuilder;
use object_store::memory::InMemory;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};

use crate::common::install_provider;

/// What the server does with one GET.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    /// Sends so many bytes of the body, and closes the connection.
    Close(usize),
    /// The same, and the object is another one from then on.
    CloseAndReplace(usize),
    /// Announces and sends one byte less than was asked for.
    Short,
    /// Sends the whole object with the status 200.
    Whole,
    /// Sends a status without a body.
    Status(u16),
    /// Answers nothing, and keeps the connection.
    Hang,
}

struct State {
    body: Vec<u8>,
    tag: Option<&'static str>,
    minds_if_match: bool,
    acts: VecDeque<Act>,
    /// What is done with each GET when no act is left.
    always: Option<Act>,
    gets: usize,
    hanging: Vec<TcpStream>,
    /// So many requests without a range are answered with 503.
    busy_heads: usize,
    is_over: bool,
}

/// A server of one object, `/a`.
struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn new(body: Vec<u8>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(Mutex::new(State {
            body,
            tag: Some("\"one\""),
            minds_if_match: true,
            acts: VecDeque::new(),
            always: None,
            gets: 0,
            hanging: Vec::new(),
            busy_heads: 0,
            is_over: false,
        }));
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().is_over {
                    return;
                }
                // A client that has gone is no failure of the server.
                let _ = serve(stream.unwrap(), &shared);
            }
        });
        Server { address, state }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn acts(&self, acts: &[Act]) {
        self.change(|state| state.acts.extend(acts));
    }

    fn store(&self) -> RemoteStore {
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(5),
            base: 2.0,
        };
        let retry = RetryConfig {
            backoff,
            max_retries: 3,
            retry_timeout: Duration::from_secs(60),
        };
        install_provider();
        let client = ClientOptions::new().with_allow_http(true);
        let http = HttpBuilder::new().with_url(format!("http://{}", self.address));
        let http = http.with_client_options(client).with_retry(retry).build();
        RemoteStore::new(Arc::new(http.unwrap()), "a").unwrap()
    }

    fn array(&self) -> PagedArray<u8> {
        open(self.store())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.change(|state| state.is_over = true);
        let _ = TcpStream::connect(self.address);
    }
}

/// What one read takes besides its pages.
const LIMIT_OF_READS: usize = 512 << 10;

fn open(store: RemoteStore) -> PagedArray<u8> {
    let options = PagedArray::options()
        .page_size(page_size())
        .read_ahead(0)
        .threads(0);
    options
        .resident_limit(LIMIT_OF_READS + 4 * page_size())
        .open_store(store)
        .unwrap()
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let mut range = None;
    let mut wanted_tag = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("range: bytes=") {
            let (start, last) = bytes.split_once('-').unwrap();
            range = Some(start.parse::<usize>().unwrap()..last.parse::<usize>().unwrap() + 1);
        }
        if let Some(tag) = line.strip_prefix("if-match: ") {
            wanted_tag = Some(tag.to_owned());
        }
    }
    let mut out = stream;
    let mut state = state.lock().unwrap();
    let tag = state
        .tag
        .map_or(String::new(), |tag| format!("ETag: {tag}\r\n"));
    let len = state.body.len();
    let head = |status: &str, len: usize| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n{tag}")
    };
    if !request.contains(" /a ") {
        return write!(out, "{}\r\n", head("404 Not Found", 0));
    }
    let Some(range) = range else {
        if state.busy_heads > 0 {
            state.busy_heads -= 1;
            return write!(out, "{}\r\n", head("503 Busy", 0));
        }
        return write!(out, "{}\r\n", head("200 OK", len));
    };
    state.gets += 1;
    let act = state.acts.pop_front().or(state.always);
    let is_other = wanted_tag.is_some() && wanted_tag.as_deref() != state.tag;
    if is_other && state.minds_if_match {
        return write!(out, "{}\r\n", head("412 Precondition Failed", 0));
    }
    let range = range.start..range.end.min(len);
    let content_range = format!(
        "Content-Range: bytes {}-{}/{len}\r\n",
        range.start,
        range.end - 1
    );
    let partial = |len| format!("{}{content_range}\r\n", head("206 Partial Content", len));
    let body = &state.body[range.clone()];
    match act {
        None => {
            write!(out, "{}", partial(body.len()))?;
            out.write_all(body)
        }
        Some(Act::Close(count) | Act::CloseAndReplace(count)) => {
            write!(out, "{}", partial(body.len()))?;
            out.write_all(&body[..count.min(body.len())])?;
            if let Some(Act::CloseAndReplace(_)) = act {
                state.body.fill(9);
                state.tag = Some("\"two\"");
            }
            Ok(())
        }
        Some(Act::Short) => {
            write!(out, "{}", partial(body.len() - 1))?;
            out.write_all(&body[1..])
        }
        Some(Act::Whole) => {
            write!(out, "{}\r\n", head("200 OK", len))?;
            out.write_all(&state.body)
        }
        Some(Act::Status(status)) => write!(out, "{}\r\n", head(&format!("{status} Injected"), 0)),
        Some(Act::Hang) => {
            state.hanging.push(out);
            Ok(())
        }
    }
}

/// Bytes that tell where they are.
fn bytes(pages: usize) -> Vec<u8> {
    (0..pages * page_size())
        .map(|byte| (byte * 7 + byte / 251) as u8)
        .collect()
}

fn page(array: &PagedArray<u8>, page: usize) -> Result<Vec<u8>, Error> {
    let start = page * page_size();
    array
        .slice(start..start + page_size())
        .map(|slice| slice.to_vec())
}

fn is_right(array: &PagedArray<u8>, number: usize) -> bool {
    let start = number * page_size();
    page(array, number).unwrap() == bytes(number + 1)[start..]
}

#[test]
fn an_object_in_memory() {
    let bucket = Arc::new(InMemory::new());
    let put = |bytes: Vec<u8>| {
        pollster::block_on(bucket.put(&"folder/a".into(), bytes.into())).unwrap();
    };
    put(bytes(10));
    let store = RemoteStore::new(Arc::clone(&bucket) as Arc<dyn ObjectStore>, "folder/a");
    let array = open(store.unwrap());
    let mut all = Vec::new();
    for chunk in array.scan(..).unwrap() {
        all.extend_from_slice(&chunk.unwrap());
    }
    assert!(all == bytes(10));
    assert!(array.stats().bytes_resident_max <= 4 * page_size());
    assert!(array.version().unwrap().contains("entity tag"));

    put(vec![9; 10 * page_size()]);
    let error = page(&array, 0).unwrap_err();
    assert!(error.is_changed(), "{error}");
    assert!(is_right(&array, 9), "what is resident stays");
    let missing = RemoteStore::new(bucket, "folder/b").unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_url_is_read_and_not_written() {
    let server = Server::new(bytes(3));
    let url = format!("http://{}/a", server.address);
    let array = PagedArray::<u8>::open(&url).unwrap();
    assert!(array.slice(..).unwrap()[..] == bytes(3));
    assert_eq!(array.location(), url);
    let error = PagedArray::<u8>::options()
        .writable(true)
        .open(&url)
        .unwrap_err();
    assert!(error.is_read_only(), "{error}");
    let error = PagedArray::<u8>::open(format!("{url}b")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
    let error = PagedArray::<u8>::open(format!("{url}?key=1")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    server.change(|state| state.tag = None);
    let error = PagedArray::<u8>::open(&url).unwrap_err();
    assert!(
        error.is_unsupported() && error.to_string().contains("ETag"),
        "{error}"
    );
}

#[test]
fn failures_that_pass_are_repeated() {
    let server = Server::new(bytes(12));
    let array = server.array();
    let n = page_size();
    for (number, acts) in [
        &[Act::Close(0)][..],
        &[Act::Close(1)],
        &[Act::Close(n / 2)],
        &[Act::Close(n - 1)],
        &[Act::Close(n)],
        &[Act::Close(n / 2), Act::Close(n / 4), Act::Close(1)],
        &[Act::Status(503)],
        &[Act::Status(429), Act::Status(500)],
        &[Act::Close(n / 2), Act::Status(503)],
    ]
    .into_iter()
    .enumerate()
    {
        server.acts(acts);
        assert!(is_right(&array, number), "{acts:?}");
        assert!(
            server.state.lock().unwrap().acts.is_empty(),
            "{acts:?} were not met"
        );
    }
    assert_eq!(array.stats().failures, 0);
}

#[test]
fn failures_that_stay_are_errors_and_the_array_works_afterwards() {
    let server = Server::new(bytes(12));
    let array = server.array();
    for (number, act, part) in [
        (0, Act::Close(0), ""),
        (1, Act::Close(10), ""),
        (2, Act::Short, "asked for bytes"),
        (3, Act::Whole, ""),
        (4, Act::Status(503), "503"),
        (5, Act::Status(429), "429"),
        (6, Act::Status(403), ""),
    ] {
        // A body that ends 10 bytes further each time would be whole some day, were its tries not counted.
        server.change(|state| state.always = Some(act));
        let error = page(&array, number).unwrap_err();
        assert!(
            error.io_error().is_some() && !error.is_changed(),
            "{act:?}: {error}"
        );
        let text = error.to_string();
        assert!(
            text.contains(part) && !text.contains('\n'),
            "{act:?}: {text}"
        );
        assert_eq!(error.range().start, (number * page_size()) as u64);
        server.change(|state| state.always = None);
        assert!(is_right(&array, number), "{act:?}");
    }
}

#[test]
fn an_object_that_changes_is_never_mixed() {
    for minds_if_match in [true, false] {
        for act in [None, Some(Act::CloseAndReplace(page_size() / 2))] {
            let server = Server::new(bytes(4));
            server.change(|state| state.minds_if_match = minds_if_match);
            let array = server.array();
            assert!(is_right(&array, 0));
            match act {
                Some(act) => server.acts(&[act]),
                None => server.change(|state| state.tag = Some("\"two\"")),
            }
            let error = page(&array, 1).unwrap_err();
            assert!(error.is_changed(), "{act:?}, {minds_if_match}: {error}");
            assert!(is_right(&array, 0), "what is resident stays");
            // The former version comes back.
            server.change(|state| (state.body, state.tag) = (bytes(4), Some("\"one\"")));
            assert!(is_right(&array, 1));
        }
    }
}

#[test]
fn a_server_that_hangs_is_left_at_the_deadline() {
    let server = Server::new(bytes(2));
    let array = open(server.store().deadline(Duration::from_millis(300)));
    server.acts(&[Act::Hang]);
    let error = page(&array, 0).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    server.change(|state| state.hanging.clear());
    // Another deadline, so that a slow machine does not fail here.
    assert!(is_right(&server.array(), 0));
    assert!(server.state.lock().unwrap().gets >= 2);
}

#[test]
fn a_refused_connection_is_an_error_at_once() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = PagedArray::<u8>::open(format!("http://{address}/a")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("there is no connection to the server: ") && !text.contains("retries"),
        "{text}"
    );
}

#[test]
fn opening_is_repeated_while_the_server_is_busy() {
    let server = Server::new(bytes(1));
    server.change(|state| state.busy_heads = 3);
    let array = PagedArray::<u8>::open(format!("http://{}/a", server.address)).unwrap();
    assert!(is_right(&array, 0));
    assert_eq!(server.state.lock().unwrap().busy_heads, 0);
}

/// The memory of responses is part of the limit.
#[test]
fn reads_count_against_the_limit() {
    let server = Server::new(bytes(8));
    let budget = elbowroom::Budget::new(LIMIT_OF_READS + 4 * page_size());
    let options = PagedArray::<u8>::options()
        .page_size(page_size())
        .budget(&budget);
    let array = options.clone().open_store(server.store()).unwrap();
    assert_eq!(budget.committed_bytes(), LIMIT_OF_READS);
    thread::scope(|scope| {
        for first in 0..4 {
            let array = &array;
            scope.spawn(move || {
                (0..8).for_each(|page| assert!(is_right(array, (first + page) % 8)))
            });
        }
    });
    assert!(budget.peak_bytes() > LIMIT_OF_READS && budget.peak_bytes() <= budget.limit_bytes());
    drop(array);
    assert_eq!(budget.committed_bytes(), 0);
    let error = options
        .resident_limit(LIMIT_OF_READS)
        .open_store(server.store())
        .unwrap_err();
    assert!(
        error.is_invalid()
            && error
                .to_string()
                .contains("no room for a page and for a read"),
        "{error}"
    );
}
