//! A real server with the protocol of S3: moto, a program in Python (`pip install "moto[server]"`).
//!
//! `ELBOWROOM_MOTO_SERVER` is its path; otherwise it is looked for on the search path. `cargo xtask ci` installs it.

use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use elbowroom::page_size;
use elbowroom_pager::{PagedArray, RemoteStore};
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::common::{Random, install_provider};

/// A server on a port of its own. It is ended when this is dropped.
struct Moto {
    child: Child,
    address: String,
}

impl Moto {
    /// Returns `None` if there is no such program.
    fn start() -> Option<Moto> {
        let program = env::var_os("ELBOWROOM_MOTO_SERVER").unwrap_or("moto_server".into());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut moto = Moto {
            child,
            address: address.to_string(),
        };
        while TcpStream::connect(address).is_err() {
            assert!(
                moto.child.try_wait().unwrap().is_none(),
                "the server has ended"
            );
            sleep(Duration::from_millis(50));
        }
        Some(moto)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn objects_behind_a_real_server() {
    let Some(moto) = Moto::start() else {
        assert!(
            env::var_os("ELBOWROOM_MOTO_SERVER").is_none(),
            "ELBOWROOM_MOTO_SERVER is no program"
        );
        return println!(
            "skipped: there is no moto_server; pip install \"moto[server]\" installs it"
        );
    };
    let mut bucket = TcpStream::connect(&moto.address).unwrap();
    let request =
        "PUT /bucket HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    bucket.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    bucket.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    // In a process of its own, since the configuration comes from the environment.
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "all::s3::with_the_server",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("AWS_ENDPOINT", format!("http://{}", moto.address))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by objects_behind_a_real_server in a process of its own"]
fn with_the_server() {
    let mut random = Random::new(3);
    let numbers: Vec<u64> = (0..40 * page_size() / 8).map(|_| random.number()).collect();
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_ne_bytes())
        .collect();
    install_provider();
    let bucket = AmazonS3Builder::from_env()
        .with_bucket_name("bucket")
        .build()
        .unwrap();
    let missing = PagedArray::<u64>::open("s3://bucket/none").unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound, "{missing}");
    let put = |bytes: Vec<u8>| in_a_runtime(bucket.put(&"a/numbers".into(), bytes.into()));
    put(bytes.clone());

    let limit = 8 * page_size() + (512 << 10);
    let options = PagedArray::<u64>::options()
        .page_size(page_size())
        .resident_limit(limit);
    let array = options.clone().open("s3://bucket/a/numbers").unwrap();
    let sum = |array: &PagedArray<u64>| {
        let chunks = array.scan(..).unwrap();
        chunks.fold(0u64, |sum, chunk| {
            chunk
                .unwrap()
                .iter()
                .fold(sum, |sum, &number| sum.wrapping_add(number))
        })
    };
    let expected = numbers
        .iter()
        .fold(0u64, |sum, &number| sum.wrapping_add(number));
    assert_eq!(sum(&array), expected);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (array, numbers) = (&array, &numbers);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..20 {
                    let index = random.below(numbers.len());
                    assert_eq!(array.get(index).unwrap(), numbers[index]);
                }
            });
        }
    });
    let stats = array.stats();
    assert!(
        stats.failures == 0 && stats.bytes_resident_max <= 8 * page_size(),
        "{stats:?}"
    );

    put(vec![1; bytes.len()]);
    let error = array.scan(..).unwrap().find_map(Result::err).unwrap();
    assert!(error.is_changed(), "{error}");
    let store = RemoteStore::new(
        Arc::new(bucket.clone()) as Arc<dyn ObjectStore>,
        "a/numbers",
    )
    .unwrap();
    let array = options.open_store(store).unwrap();
    assert_eq!(array.get(7).unwrap(), 0x0101_0101_0101_0101);
}

fn in_a_runtime<T>(work: impl Future<Output = object_store::Result<T>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work).unwrap();
}
