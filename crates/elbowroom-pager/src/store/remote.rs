//! An object of an object store, read by ranged requests for one version of it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    Error as ObjectError, GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore,
    ObjectStoreExt, RetryConfig,
};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::url::build;
use super::{Store, StoreError};

const DEADLINE_DEFAULT: Duration = Duration::from_secs(120);
/// The number of times that a body that breaks off is continued.
const BODIES_MAX: usize = 4;
/// The memory of a response besides the buffer that it fills: the client's own buffer, at most 408 KiB, and that of the
/// encryption.
const RESPONSE_BYTES: usize = 512 << 10;

/// An object in S3, Google Cloud Storage, Azure or behind HTTP, or in any other store of the crate `object_store`. It
/// is read-only. It needs the feature `remote`.
///
/// The store reads the version that the object had at opening, which its entity tag (ETag) names. Each request asks for
/// that version (`If-Match`), and each response must name it, so an object that is overwritten meanwhile is a
/// [`StoreError::Changed`], and no read mixes two versions. An object without an entity tag is refused.
///
/// A request that fails is repeated as the store was configured: by default at most 10 times, with growing pauses,
/// after a status of 429 or 5xx and after a lost connection. A body that breaks off is continued where it ended. A read
/// that takes longer than the [deadline](RemoteStore::deadline), including repetitions, is an error of the kind
/// `TimedOut`.
///
/// Two threads of the process do the work of all remote stores. The memory of responses counts against the limit of the
/// array: 512 KiB for each request, of which up to 16 run at once.
///
/// ```
/// use std::sync::Arc;
///
/// use elbowroom_pager::{PagedArray, RemoteStore};
/// use object_store::memory::InMemory;
/// # use object_store::{ObjectStore, ObjectStoreExt};
///
/// let bucket = Arc::new(InMemory::new());
/// # pollster::block_on(bucket.put(&"a/samples".into(), vec![1u8; 400].into())).unwrap();
/// let store = RemoteStore::new(bucket, "a/samples").unwrap();
/// let array = PagedArray::<u32>::options().open_store(store)?;
/// assert_eq!(array.get(99)?, 0x01010101);
/// # Ok::<(), elbowroom_pager::Error>(())
/// ```
pub struct RemoteStore {
    store: Arc<dyn ObjectStore>,
    path: Path,
    len: u64,
    tag: String,
    deadline: Duration,
    runtime: &'static Runtime,
}

impl RemoteStore {
    /// Opens an object of a store of the crate `object_store`, whose configuration and retries apply.
    ///
    /// This crate uses `object_store` with its feature `ring`. A program that builds a store itself either enables a
    /// feature of `object_store` that has a provider of cryptography (`aws`, `azure`, `gcp` or `http`), or installs one
    /// for the crate `rustls` first: `rustls::crypto::ring::default_provider().install_default()`.
    ///
    /// # Errors
    /// Fails if there is no such object, or if it has no entity tag. Otherwise returns the errors of the store.
    pub fn new(store: Arc<dyn ObjectStore>, path: &str) -> io::Result<RemoteStore> {
        let path = Path::parse(path).map_err(|error| refused(error.into()))?;
        RemoteStore::with_path(store, path)
    }

    /// Opens `s3://bucket/key`, `gs://bucket/key`, `az://container/key`, `http://…` or `https://…`.
    ///
    /// Keys, regions and endpoints come from the variables of the environment that the vendors' tools use, such as
    /// `AWS_REGION`, `GOOGLE_SERVICE_ACCOUNT` and `AZURE_STORAGE_ACCOUNT_NAME`. `AWS_ENDPOINT` is another server with
    /// S3's protocol, and `AWS_ALLOW_HTTP=true` permits one without encryption.
    ///
    /// If the program has no default provider of cryptography for the crate `rustls`, `ring` becomes it. A program with
    /// another one installs it first.
    ///
    /// # Errors
    /// Fails as [`new`](RemoteStore::new) does, and if the URL is malformed or has a query. If no connection to the
    /// server can be made, it fails at once.
    pub fn open(url: &str) -> io::Result<RemoteStore> {
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidInput, reason);
        let url = Url::parse(url).map_err(|error| invalid(format!("it is no URL: {error}")))?;
        if url.query().is_some() || url.fragment().is_some() {
            let reason = "a URL with ? or # is not supported; give keys in the environment";
            return Err(invalid(reason.into()));
        }
        // The first request is not repeated, so that an unreachable server is an error at once.
        let (store, path) = build(
            &url,
            RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            },
        )
        .map_err(refused)?;
        match wait(runtime()?, DEADLINE_DEFAULT, store.head(&path))? {
            Err(error) if is_unreachable(&error) => return Err(unreachable(error)),
            _ => {}
        }
        let (store, path) = build(&url, RetryConfig::default()).map_err(refused)?;
        RemoteStore::with_path(store, path)
    }

    /// Sets the longest time of one read, including repetitions. The default is two minutes.
    #[must_use = "the store is returned"]
    pub fn deadline(mut self, deadline: Duration) -> RemoteStore {
        self.deadline = deadline;
        self
    }

    fn with_path(store: Arc<dyn ObjectStore>, path: Path) -> io::Result<RemoteStore> {
        let runtime = runtime()?;
        let head = wait(runtime, DEADLINE_DEFAULT, store.head(&path))?;
        let meta = head.map_err(refused)?;
        let Some(tag) = meta.e_tag else {
            let reason = "the server gives the object no entity tag (ETag), without which a change of it would go \
                          unnoticed; copy it to a file first";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        };
        Ok(RemoteStore {
            store,
            path,
            len: meta.size,
            tag,
            deadline: DEADLINE_DEFAULT,
            runtime,
        })
    }

    /// Fails if this is another version of the object.
    fn check(&self, meta: &ObjectMeta) -> Result<(), StoreError> {
        let tag = meta.e_tag.as_deref();
        if tag == Some(&self.tag) && meta.size == self.len {
            return Ok(());
        }
        Err(StoreError::Changed(format!(
            "it had {} bytes and the entity tag {}, and has {} bytes and {}",
            self.len,
            self.tag,
            meta.size,
            tag.unwrap_or("none")
        )))
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let mut done = 0;
        let mut bodies = 0;
        while done < buffer.len() {
            let rest = offset + done as u64..offset + buffer.len() as u64;
            bodies += 1;
            match self.read_body(rest, &mut buffer[done..], &mut done).await {
                Ok(()) => {}
                // Continued, for this version only.
                Err(Failure::Body(_)) if bodies < BODIES_MAX => {}
                Err(Failure::Changed(change)) => return Err(change),
                Err(Failure::Request(error) | Failure::Body(error)) => {
                    return Err(self.explain(error).await);
                }
            }
        }
        Ok(())
    }

    /// Reads the body of one response, and adds the number of bytes received to `done`.
    async fn read_body(
        &self,
        range: Range<u64>,
        buffer: &mut [u8],
        done: &mut usize,
    ) -> Result<(), Failure> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            // A weak tag matches nothing by definition (RFC 9110, 13.1.1). The response's own tag is compared then.
            if_match: (!self.tag.starts_with("W/")).then(|| self.tag.clone()),
            ..GetOptions::default()
        };
        let response = self.store.get_opts(&self.path, options).await;
        let response = response.map_err(|error| Failure::Request(refused(error)))?;
        self.check(&response.meta).map_err(Failure::Changed)?;
        if response.range != range {
            return Err(Failure::Request(wrong_length(&range, &response.range)));
        }
        let mut body = match response.payload {
            GetResultPayload::Stream(body) => body,
            #[allow(
                unreachable_patterns,
                reason = "another crate may turn its feature `fs` on"
            )]
            _ => return Err(Failure::Request(io::ErrorKind::Unsupported.into())),
        };
        let mut filled = 0;
        while let Some(part) = poll_fn(|context| body.as_mut().poll_next(context)).await {
            let part = part.map_err(|error| Failure::Body(refused(error)))?;
            let Some(place) = buffer.get_mut(filled..filled + part.len()) else {
                let end = range.start + (filled + part.len()) as u64;
                return Err(Failure::Request(wrong_length(&range, &(range.start..end))));
            };
            place.copy_from_slice(&part);
            filled += part.len();
            *done += part.len();
        }
        if filled < buffer.len() {
            let end = range.start + filled as u64;
            return Err(Failure::Body(wrong_length(&range, &(range.start..end))));
        }
        Ok(())
    }

    /// Returns the error of a failed read: [`StoreError::Changed`] if the object is another one now, otherwise `error`.
    async fn explain(&self, error: io::Error) -> StoreError {
        match self.store.head(&self.path).await {
            Ok(meta) => self.check(&meta).err().unwrap_or(StoreError::Io(error)),
            Err(ObjectError::NotFound { .. }) => StoreError::Changed("it was removed".into()),
            Err(_) => StoreError::Io(error),
        }
    }
}

/// The reason why a response did not fill the buffer.
enum Failure {
    /// The object is another version.
    Changed(StoreError),
    /// There was no usable response.
    Request(io::Error),
    /// The body broke off.
    Body(io::Error),
}

impl Store for RemoteStore {
    fn len(&self) -> Result<u64, StoreError> {
        Ok(self.len)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        wait(self.runtime, self.deadline, self.read(offset, buffer))?
    }

    fn write_at(&self, _: u64, _: &[u8]) -> Result<(), StoreError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_writable(&self) -> bool {
        false
    }

    fn read_overhead(&self) -> usize {
        RESPONSE_BYTES
    }

    fn version(&self) -> Option<String> {
        Some(format!("{} bytes, entity tag {}", self.len, self.tag))
    }
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteStore")
            .field("path", &self.path)
            .field("len", &self.len)
            .field("tag", &self.tag)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Returns the threads that all remote stores share. They live as long as the process.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let mut builder = Builder::new_multi_thread();
    let builder = builder
        .worker_threads(2)
        .thread_name("elbowroom-remote")
        .enable_all();
    let runtime = builder.build()?;
    // If two threads come here at once, one runtime is given up. A plain drop would wait for its threads.
    if let Err(spare) = RUNTIME.set(runtime) {
        spare.shutdown_background();
    }
    RUNTIME
        .get()
        .ok_or_else(|| io::Error::other("there is no runtime"))
}

/// Waits on this thread, which may itself belong to a runtime of the program.
fn wait<T>(runtime: &Runtime, deadline: Duration, work: impl Future<Output = T>) -> io::Result<T> {
    // So that timers and connections are those of this runtime.
    let _entered = runtime.enter();
    let work = pollster::block_on(async { tokio::time::timeout(deadline, work).await });
    work.map_err(|_| {
        let text = format!(
            "the store did not answer within {} seconds",
            deadline.as_secs_f32()
        );
        io::Error::new(io::ErrorKind::TimedOut, text)
    })
}

fn wrong_length(asked: &Range<u64>, came: &Range<u64>) -> io::Error {
    let text = format!("the server was asked for bytes {asked:?} and sent {came:?}");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

/// Returns whether no connection to the server could be made.
fn is_unreachable(error: &ObjectError) -> bool {
    causes(error).any(|cause| {
        let http = cause.downcast_ref::<HttpError>();
        http.is_some_and(|http| http.kind() == HttpErrorKind::Connect)
    })
}

/// Returns the error, with the system's error at the end.
fn unreachable(error: ObjectError) -> io::Error {
    let cause = causes(&error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default();
    let refused = refused(error);
    let text = format!("there is no connection to the server: {cause} ({refused})");
    io::Error::new(io::ErrorKind::NotConnected, text)
}

/// Returns the causes of an error, from the outermost to the innermost.
fn causes(error: &ObjectError) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |error| error.source())
}

/// Returns the error of the system's kind, with a text of one line.
fn refused(error: ObjectError) -> io::Error {
    let kind = match &error {
        ObjectError::NotFound { .. } => io::ErrorKind::NotFound,
        ObjectError::PermissionDenied { .. } | ObjectError::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        ObjectError::InvalidPath { .. } => io::ErrorKind::InvalidInput,
        ObjectError::NotSupported { .. } | ObjectError::NotImplemented { .. } => {
            io::ErrorKind::Unsupported
        }
        _ => io::ErrorKind::Other,
    };
    let text = error.to_string();
    let words: Vec<&str> = text.split_whitespace().collect();
    io::Error::new(kind, words.join(" "))
}
