//! Local files: what others do to them, and what is written to them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime};

use elbowroom::page_size;
use elbowroom_pager::{Operation, PagedArray};

use crate::common::{TempFile, is_emulated};

fn pages(count: usize) -> Vec<u8> {
    (0..count * page_size())
        .map(|byte| (byte / page_size() + 1) as u8)
        .collect()
}

fn options() -> elbowroom_pager::PagedOptions<u8> {
    PagedArray::options()
        .page_size(page_size())
        .resident_limit(4 * page_size())
        .read_ahead(0)
}

#[test]
fn a_file_is_read_and_written_in_place() {
    let file = TempFile::with("in-place", &pages(20));
    let mut array = options().writable(true).offset(3).open(&file).unwrap();
    assert_eq!(array.len(), 20 * page_size() - 3);
    assert_eq!(array.location(), file.0.to_str().unwrap());
    for page in (0..20).rev() {
        array.set(page * page_size(), 100 + page as u8).unwrap();
    }
    array.flush().unwrap();
    let mut expected = pages(20);
    for page in 0..20 {
        expected[3 + page * page_size()] = 100 + page as u8;
    }
    assert!(fs::read(&file).unwrap() == expected);
}

#[test]
fn a_url_of_a_file() {
    let file = TempFile::with("url", &[1, 2, 3]);
    let path = file.0.to_str().unwrap().replace('\\', "/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let array = PagedArray::<u8>::open(format!("file://{slash}{path}")).unwrap();
    assert_eq!(array.slice(..).unwrap()[..], [1, 2, 3]);
}

#[test]
fn a_file_that_becomes_shorter_is_an_error_and_no_signal() {
    for is_writable in [false, true] {
        let file = TempFile::with("shorter", &pages(10));
        let array = options().writable(is_writable).open(&file).unwrap();
        let guard = array.slice(..1).unwrap();
        OpenOptions::new()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(5)
            .unwrap();
        let error = array.get(7 * page_size()).unwrap_err();
        assert!(error.is_changed(), "{error}");
        assert_eq!(error.operation(), Operation::Read);
        assert_eq!(error.range().start, 7 * page_size() as u64);
        let text = error.to_string();
        assert!(text.contains("and has 5"), "{text}");
        assert_eq!(guard[0], 1);
    }
}

#[test]
fn a_page_is_not_written_to_a_file_that_became_shorter() {
    let file = TempFile::with("shorter-write", &pages(10));
    let mut array = options().writable(true).open(&file).unwrap();
    array.set(9 * page_size(), 1).unwrap();
    OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(5)
        .unwrap();
    assert!(array.flush().unwrap_err().is_changed());
    assert_eq!(fs::metadata(&file).unwrap().len(), 5);
}

#[test]
fn a_file_that_is_written_by_others_is_an_error() {
    let file = TempFile::with("written", &pages(10));
    // Long ago, so that the next write shows whatever the file system's clock.
    let past = SystemTime::now() - Duration::from_secs(3600);
    OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(past)
        .unwrap();
    let array = options().open(&file).unwrap();
    assert!(array.version().unwrap().contains("modified"));
    assert_eq!(array.get(0).unwrap(), 1);
    let mut other = OpenOptions::new().write(true).open(&file).unwrap();
    other.write_all(b"new").unwrap();
    other.sync_all().unwrap();
    let error = array.get(page_size()).unwrap_err();
    assert!(error.is_changed(), "{error}");
    // What is resident stays usable.
    assert_eq!(array.get(0).unwrap(), 1);
    // Opened again, it is as it is now.
    assert_eq!(options().open(&file).unwrap().get(0).unwrap(), b'n');
}

#[test]
fn errors_name_the_file() {
    let error = PagedArray::<u8>::open("/no/such/file").unwrap_err();
    assert_eq!(error.location(), "/no/such/file");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let folder = std::env::temp_dir();
    assert!(PagedArray::<u8>::open(&folder).is_err());
    let error = std::io::Error::from(error);
    assert!(error.to_string().contains("/no/such/file"));
}

#[test]
fn a_file_of_numpy() {
    let text = "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 300), }";
    let mut bytes = b"\x93NUMPY\x01\0\x46\0".to_vec();
    bytes.extend(format!("{text:69}\n").bytes());
    bytes.extend((0..600u16).flat_map(u16::to_le_bytes));
    let file = TempFile::with("numpy.npy", &bytes);
    let options = || {
        PagedArray::<u16>::options()
            .writable(true)
            .page_size(page_size())
    };
    let (mut array, header) = options().open_npy(&file).unwrap();
    assert_eq!((header.shape(), header.data_offset()), (&[2, 300][..], 80));
    assert_eq!(array.len(), 600);
    assert_eq!(array.get(599).unwrap(), 599);
    array.set(1, 7).unwrap();
    assert!(array.resize(5).unwrap_err().is_unsupported());
    drop(array);
    assert_eq!(fs::read(&file).unwrap()[82], 7);
    let error = PagedArray::<f32>::options().open_npy(&file).unwrap_err();
    assert!(
        error.is_invalid() && error.to_string().contains("`<u2`"),
        "{error}"
    );
    OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(100)
        .unwrap();
    assert!(options().open_npy(&file).unwrap_err().is_invalid());
}

#[test]
fn a_file_grows_and_shrinks_in_place() {
    let file = TempFile::new("resize");
    File::create(&file).unwrap();
    let len = 6 * page_size() + 10;
    let mut array = options()
        .writable(true)
        .max_len(20 * page_size())
        .open(&file)
        .unwrap();
    let base = array.as_ptr();
    array.resize(len).unwrap();
    array
        .slice_mut(2 * page_size()..4 * page_size())
        .unwrap()
        .fill(7);
    array.set(len - 1, 8).unwrap();
    array.resize(3 * page_size() + 1).unwrap();
    assert_eq!(
        fs::metadata(&file).unwrap().len(),
        3 * page_size() as u64 + 1
    );
    array.resize(20 * page_size()).unwrap();
    assert_eq!(array.as_ptr(), base);
    array.flush().unwrap();
    let bytes = fs::read(&file).unwrap();
    assert_eq!(bytes.len(), 20 * page_size());
    assert!(
        bytes[2 * page_size()..3 * page_size() + 1]
            .iter()
            .all(|&byte| byte == 7)
    );
    assert!(bytes[3 * page_size() + 1..].iter().all(|&byte| byte == 0));
    assert_eq!(array.get(3 * page_size() + 1).unwrap(), 0);
    let error = array.resize(20 * page_size() + 1).unwrap_err();
    assert!(
        error.is_limit() && error.to_string().contains("max_len"),
        "{error}"
    );
    drop(array);
    // The array is not the end of the file.
    let mut array = options().writable(true).len(5).open(&file).unwrap();
    assert!(array.resize(4).unwrap_err().is_unsupported());
    assert_eq!(array.len(), 5);
}

#[test]
fn nothing_is_written_behind_the_end_of_an_array_that_shrinks() {
    let file = TempFile::with("behind", &[]);
    let mut array = PagedArray::<u8>::options()
        .writable(true)
        .max_len(8 * page_size())
        .page_size(page_size())
        .resident_limit(8 * page_size())
        .open(&file)
        .unwrap();
    let rounds = if is_emulated() { 10 } else { 300 };
    for round in 0..rounds {
        array.resize(8 * page_size()).unwrap();
        // More than half of the limit: the threads of the array begin to write.
        array.slice_mut(..).unwrap().fill(round as u8 | 1);
        let len = page_size() + round;
        array.resize(len).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), len as u64);
        array.resize(8 * page_size()).unwrap();
        let slice = array.slice(..).unwrap();
        assert!(slice[..len].iter().all(|&byte| byte == round as u8 | 1));
        assert!(slice[len..].iter().all(|&byte| byte == 0));
    }
}
