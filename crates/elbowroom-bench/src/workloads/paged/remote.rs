//! The sum of all numbers of an object behind a server, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use elbowroom::Size;
use elbowroom_pager::{PagedArray, RemoteStore};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt};
use tokio::runtime::Builder;

use super::super::OURS;
use super::bounded::{Bounds, Done, ROOM, within};
use super::data;
use super::server::{BYTES_A_SECOND, LATENCY, Server};
use crate::plan::{Comparison, Contender, Scale};
use crate::sample::Traffic;

const PLAIN: &str = "object_store, 8 ranges of 4 MiB at once";
const AT_ONCE: usize = 8;
const RANGE_BYTES: usize = 4 << 20;
const NAME: &str = "numbers";

pub(super) fn comparison(scale: Scale) -> Comparison {
    let bounds = Bounds::new(scale, 64 << 20);
    // A response takes half a MiB of the limit.
    let bounds = Bounds {
        limit: bounds.limit.max(4 << 20),
        ..bounds
    };
    let contenders = vec![
        reader(OURS, bounds, move |store| ours(store, bounds, None)),
        reader("elbowroom, read-ahead of 1 MiB", bounds, move |store| {
            ours(store, bounds, Some(1 << 20))
        }),
        reader(PLAIN, bounds, move |store| plain(&store, bounds)),
    ];
    let title = format!(
        "the sum of the numbers in an object of {}, in order, from a server that answers after {} ms and sends {} MB a \
         second on each connection, with a limit of {} and {} for the program",
        Size(bounds.data as u64),
        LATENCY.as_millis(),
        BYTES_A_SECOND / 1_000_000,
        Size(bounds.limit as u64),
        Size(ROOM as u64)
    );
    Comparison::new(
        "paged-remote",
        title,
        (bounds.data >> 20, "MiB"),
        contenders,
    )
    .rounds(5)
    .by_wall_clock()
    .without_memory()
    .goal(OURS, PLAIN, 1.11)
}

/// Returns a contender that reads the object of a store.
fn reader(
    name: &'static str,
    bounds: Bounds,
    work: impl Fn(Arc<dyn ObjectStore>) -> Result<Done, String> + Clone + 'static,
) -> Contender {
    Contender::new(name, move || {
        let file = data::file(bounds.data)?;
        let expected = data::numbers(bounds.data).fold(0, u64::wrapping_add);
        let server = Server::start(&file)?;
        // Each client has one, also without encryption. Fails if there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let work = work.clone();
        Ok(Box::new(move || {
            let work = || {
                let client = ClientOptions::new().with_allow_http(true);
                let store = HttpBuilder::new().with_url(server.url());
                let store = store.with_client_options(client).build();
                work(Arc::new(store.map_err(|error| error.to_string())?))
            };
            let (sample, sum) = within(bounds.limit, &[], work);
            assert_eq!(sum, expected, "the sum of the numbers that were read");
            sample
        }))
    })
}

fn ours(
    store: Arc<dyn ObjectStore>,
    bounds: Bounds,
    read_ahead: Option<usize>,
) -> Result<Done, String> {
    let store = RemoteStore::new(store, NAME).map_err(|error| error.to_string())?;
    let mut options = PagedArray::<u64>::options().resident_limit(bounds.limit);
    if let Some(bytes) = read_ahead {
        options = options.read_ahead(bytes);
    }
    let sum = || {
        let array = options.open_store(store)?;
        let mut sum = 0_u64;
        for chunk in array.scan(..)? {
            sum = sum.wrapping_add(data::sum(&chunk?));
        }
        Ok(Done::of_array(sum, &array, bounds.data))
    };
    sum().map_err(|error: elbowroom_pager::Error| error.to_string())
}

/// Reads ranges in order, as many at once as the limit has room for.
fn plain(store: &Arc<dyn ObjectStore>, bounds: Bounds) -> Result<Done, String> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let get = |start: usize| {
        let store = Arc::clone(store);
        let end = bounds.data.min(start + RANGE_BYTES);
        tokio::spawn(async move {
            let range = start as u64..end as u64;
            store.get_range(&Path::from(NAME), range).await
        })
    };
    let sum = async {
        let mut starts = (0..bounds.data).step_by(RANGE_BYTES);
        let mut running: VecDeque<_> = starts.by_ref().take(AT_ONCE).map(get).collect();
        let (mut sum, mut requests, mut bytes_moved) = (0_u64, 0, 0);
        while let Some(first) = running.pop_front() {
            let bytes = first.await.map_err(|error| error.to_string())?;
            let bytes = bytes.map_err(|error| error.to_string())?;
            running.extend(starts.next().map(get));
            let numbers = bytes.chunks_exact(8);
            let numbers = numbers.map(bytemuck::pod_read_unaligned::<u64>);
            sum = numbers.fold(sum, u64::wrapping_add);
            requests += 1;
            bytes_moved += bytes.len() as u64;
        }
        let traffic = Traffic {
            requests,
            bytes_asked: bounds.data as u64,
            bytes_moved,
        };
        Ok(Done {
            traffic: Some(traffic),
            ..Done::sum(sum)
        })
    };
    runtime.map_err(|error| error.to_string())?.block_on(sum)
}
