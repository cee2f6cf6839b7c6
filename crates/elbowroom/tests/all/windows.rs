//! What Windows reports about a region or reservation, and coexistence with other vectored handlers.
#![cfg(windows)]
#![allow(unsafe_code, reason = "asks the system")]

use crate::common;

use std::mem::size_of;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use elbowroom::{Access, FaultCode, Growth, PageState, Region, Reservation, Verdict, page_size};
use windows_sys::Win32::Foundation::{EXCEPTION_ACCESS_VIOLATION, EXCEPTION_GUARD_PAGE};
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH,
    EXCEPTION_POINTERS, RemoveVectoredExceptionHandler,
};
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_RESERVE, MEMORY_BASIC_INFORMATION, PAGE_EXECUTE_READ, PAGE_GUARD,
    PAGE_NOACCESS, PAGE_READONLY, PAGE_READWRITE, VirtualAlloc, VirtualProtect, VirtualQuery,
};
use windows_sys::Win32::System::ProcessStatus::{
    K32QueryWorkingSetEx, PSAPI_WORKING_SET_EX_INFORMATION,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetCurrentThreadId};

/// State and protection of the page at `address`, as the system has them.
fn query(address: *const u8) -> (u32, u32) {
    let mut info = MEMORY_BASIC_INFORMATION::default();
    // SAFETY: any address may be asked about; the structure is writable.
    let written = unsafe {
        VirtualQuery(
            address.cast(),
            &mut info,
            size_of::<MEMORY_BASIC_INFORMATION>(),
        )
    };
    assert_ne!(written, 0);
    (info.State, info.Protect)
}

#[test]
fn our_account_of_a_reservation_is_the_systems() {
    let page = page_size();
    let block = Reservation::new(20 * page).unwrap();
    block.commit(2 * page..9 * page).unwrap();
    block.protect(3 * page..4 * page, Access::Read).unwrap();
    block
        .protect(4 * page..5 * page, Access::ReadExecute)
        .unwrap();
    block.protect(5 * page..6 * page, Access::None).unwrap();
    block.decommit(7 * page..8 * page).unwrap();
    for span in block.spans() {
        for offset in span.range.step_by(page) {
            let (state, protect) = query(block.as_ptr().wrapping_add(offset));
            let expected = match (span.state, span.access) {
                (PageState::Reserved, _) => (MEM_RESERVE, 0),
                (PageState::Committed, Access::None) => (MEM_COMMIT, PAGE_NOACCESS),
                (PageState::Committed, Access::Read) => (MEM_COMMIT, PAGE_READONLY),
                (PageState::Committed, Access::ReadWrite) => (MEM_COMMIT, PAGE_READWRITE),
                (PageState::Committed, Access::ReadExecute) => (MEM_COMMIT, PAGE_EXECUTE_READ),
            };
            assert_eq!((state, protect), expected, "at {offset}");
        }
    }
    let address = block.as_ptr();
    block.release().unwrap();
    assert!(!matches!(query(address).0, MEM_COMMIT), "released");
}

#[test]
fn a_regions_pages_are_committed_when_touched_and_reserved_when_given_back() {
    let page = page_size();
    let region = Region::builder(20 * page)
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    region.try_write(3 * page, 1u8).unwrap();
    region.commit(10 * page..12 * page).unwrap();
    region.decommit(11 * page..12 * page).unwrap();
    for n in 0..21 {
        let committed = query(region.as_ptr().wrapping_add(n * page)).0 == MEM_COMMIT;
        assert_eq!(committed, [3, 10].contains(&n), "page {n}");
    }
}

/// The pages of a region that are in the working set.
fn resident_pages(region: &Region) -> Vec<usize> {
    let pages = 0..region.len() / page_size();
    let mut asked: Vec<_> = pages
        .map(|n| PSAPI_WORKING_SET_EX_INFORMATION {
            VirtualAddress: region.as_ptr().wrapping_add(n * page_size()).cast(),
            ..PSAPI_WORKING_SET_EX_INFORMATION::default()
        })
        .collect();
    let bytes = size_of_val(asked.as_slice()) as u32;
    // SAFETY: no preconditions; a pseudo-handle.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: this process's handle; the structures are writable, and `bytes` their size.
    let answered = unsafe { K32QueryWorkingSetEx(process, asked.as_mut_ptr().cast(), bytes) };
    assert_ne!(answered, 0);
    // SAFETY: the flags are a number, whatever they say; the lowest bit is whether the page is valid.
    let is_valid =
        |page: &PSAPI_WORKING_SET_EX_INFORMATION| unsafe { page.VirtualAttributes.Flags & 1 != 0 };
    asked
        .iter()
        .enumerate()
        .filter(|(_, page)| is_valid(page))
        .map(|(n, _)| n)
        .collect()
}

#[test]
fn what_a_write_commits_ahead_is_resident_and_what_a_read_commits_is_not() {
    let region = Region::new(1000 * page_size()).unwrap();
    (0..300).for_each(|n| region.try_write(n * page_size(), n).unwrap());
    let committed = region.stats().committed_bytes / page_size();
    assert!(committed > 300, "{committed}");
    assert_eq!(resident_pages(&region), (0..committed).collect::<Vec<_>>());
    (0..300).for_each(|n| assert_eq!(region.try_read::<usize>(n * page_size()).unwrap(), n));

    let region = Region::new(1000 * page_size()).unwrap();
    (0..300).for_each(|n| assert_eq!(region.try_read::<u8>(n * page_size()).unwrap(), 0));
    assert_eq!(region.stats().committed_bytes, committed * page_size());
    // By those reads, and not before them.
    assert!(resident_pages(&region).iter().all(|&n| n < 300));

    // A fixed window commits memory ahead of use without bringing it in.
    let region = Region::builder(1000 * page_size())
        .growth(Growth::Pages(64))
        .build()
        .unwrap();
    region.try_write(0, 1u8).unwrap();
    assert_eq!(region.stats().committed_bytes, 64 * page_size());
    assert_eq!(resident_pages(&region), [0]);
}

/// Handlers are process-wide: one test at a time.
static HANDLERS: Mutex<()> = Mutex::new(());
static SEEN: AtomicUsize = AtomicUsize::new(0);
static FOREIGN: AtomicUsize = AtomicUsize::new(0);
/// The observed thread: other tests fault at the same time.
static WATCHED: AtomicU32 = AtomicU32::new(0);

/// Counts access violations of the watched thread, and repairs those of the foreign page.
///
/// # Safety
/// Called by Windows as a vectored handler.
unsafe extern "system" fn counting(pointers: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: Windows passes a valid structure.
    let record = unsafe { (*pointers).ExceptionRecord };
    // SAFETY: its record is valid, too, as long as the handler runs.
    let record = unsafe { &*record };
    // SAFETY: GetCurrentThreadId has no preconditions.
    let thread = unsafe { GetCurrentThreadId() };
    if record.ExceptionCode != EXCEPTION_ACCESS_VIOLATION
        || thread != WATCHED.load(Ordering::Relaxed)
    {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    SEEN.fetch_add(1, Ordering::Relaxed);
    let address = record.ExceptionInformation[1];
    if address & !(page_size() - 1) != FOREIGN.load(Ordering::Relaxed) {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    let mut before = 0;
    // SAFETY: the foreign page is this test's own.
    unsafe {
        VirtualProtect(
            ptr::with_exposed_provenance(address),
            1,
            PAGE_READWRITE,
            &mut before,
        )
    };
    EXCEPTION_CONTINUE_EXECUTION
}

fn touch_foreign_page() {
    // SAFETY: a new page where the system chooses.
    let page = unsafe {
        VirtualAlloc(
            ptr::null(),
            page_size(),
            MEM_COMMIT | MEM_RESERVE,
            PAGE_NOACCESS,
        )
    };
    assert!(!page.is_null());
    FOREIGN.store(page.expose_provenance(), Ordering::Relaxed);
    // SAFETY: the handler of this test makes the page writable.
    unsafe { page.cast::<u8>().write_volatile(1) };
}

#[test]
fn handlers_before_and_after_ours_get_what_is_not_ours() {
    let _one = HANDLERS.lock().unwrap();
    // SAFETY: GetCurrentThreadId has no preconditions.
    WATCHED.store(unsafe { GetCurrentThreadId() }, Ordering::Relaxed);
    for (first, in_front_of_ours) in [(0, false), (1, true)] {
        let region = Region::builder(10 * page_size())
            .growth(Growth::Pages(1))
            .build()
            .unwrap();
        // SAFETY: a handler of the right type that stays in the program.
        let handle = unsafe { AddVectoredExceptionHandler(first, Some(counting)) };
        SEEN.store(0, Ordering::Relaxed);
        region.try_write(0, 1u8).unwrap();
        assert!(region.try_write(region.len(), 1u8).is_err());
        assert_eq!(
            SEEN.load(Ordering::Relaxed),
            if in_front_of_ours { 2 } else { 0 }
        );
        touch_foreign_page();
        assert_eq!(
            SEEN.load(Ordering::Relaxed),
            if in_front_of_ours { 3 } else { 1 }
        );
        // SAFETY: added above, removed once.
        assert_ne!(unsafe { RemoveVectoredExceptionHandler(handle) }, 0);
    }
}

#[test]
fn a_guard_page_exception_reaches_the_filter_and_is_no_page_fault() {
    let region = Region::builder(10 * page_size())
        .growth(Growth::Pages(1))
        .filter(|fault| {
            let is_violation =
                fault.code() == FaultCode::Exception(EXCEPTION_ACCESS_VIOLATION as u32);
            assert_eq!(fault.is_page_fault(), is_violation);
            if !fault.is_page_fault() {
                assert_eq!(
                    fault.code(),
                    FaultCode::Exception(EXCEPTION_GUARD_PAGE as u32)
                );
                assert!(fault.commit().is_err());
            }
            Verdict::Commit
        })
        .build()
        .unwrap();
    region.try_write(0, 1u8).unwrap();
    let guard = region.as_ptr().wrapping_add(3 * page_size());
    // SAFETY: a reserved page of the region, which nothing refers to.
    let committed = unsafe {
        VirtualAlloc(
            guard.cast(),
            page_size(),
            MEM_COMMIT,
            PAGE_READWRITE | PAGE_GUARD,
        )
    };
    assert!(!committed.is_null());
    let error = region.try_write(3 * page_size(), 1u8).unwrap_err();
    assert!(
        error.to_string().contains("other than a page fault"),
        "{error}"
    );
    assert_eq!(region.stats().committed_bytes, page_size());
}

#[test]
fn a_read_only_page_is_not_committed_away() {
    let region = Region::builder(10 * page_size())
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    region.try_write(0, 7u8).unwrap();
    let mut before = 0;
    // SAFETY: a committed page of the region, which nothing refers to.
    let protected =
        unsafe { VirtualProtect(region.as_ptr().cast(), 1, PAGE_READONLY, &mut before) };
    assert_ne!(protected, 0);
    assert!(region.try_write(0, 8u8).unwrap_err().is_protected());
    assert_eq!(region.try_read::<u8>(0).unwrap(), 7);
}

/// Changes each access violation in PROTECTED_PAGE into a read.
///
/// # Safety
/// Called by Windows as a vectored handler.
unsafe extern "system" fn say_read(pointers: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: Windows passes a valid structure.
    let record = unsafe { (*pointers).ExceptionRecord };
    // SAFETY: its record is valid, too, as long as the handler runs, and no other reference to it is there.
    let record = unsafe { &mut *record };
    let page = PROTECTED_PAGE.load(Ordering::Relaxed);
    if record.ExceptionCode == EXCEPTION_ACCESS_VIOLATION
        && record.ExceptionInformation[1] / page_size() == page / page_size()
    {
        record.ExceptionInformation[0] = 0;
    }
    EXCEPTION_CONTINUE_SEARCH
}

static PROTECTED_PAGE: AtomicUsize = AtomicUsize::new(0);

/// No fault repeats without end, although the system says that the access will work.
#[test]
fn a_store_that_is_reported_as_a_load_ends() {
    let region = Region::builder(4 * page_size())
        .growth(Growth::Pages(1))
        .build()
        .unwrap();
    region.try_write(0, 1u8).unwrap();
    let mut before = 0;
    let place = region.as_ptr().cast();
    // SAFETY: a committed page of the region, into which nothing refers; `before` is writable.
    let result = unsafe { VirtualProtect(place, page_size(), PAGE_READONLY, &mut before) };
    assert_ne!(result, 0);
    PROTECTED_PAGE.store(region.as_ptr().addr(), Ordering::Relaxed);
    // SAFETY: a handler of the right type, which is removed below.
    let handler = unsafe { AddVectoredExceptionHandler(1, Some(say_read)) };
    let refused = region.try_write(0, 2u8);
    // SAFETY: the handler was added above.
    unsafe { RemoveVectoredExceptionHandler(handler) };
    assert!(refused.unwrap_err().is_protected());
    assert_eq!(region.try_read::<u8>(0).unwrap(), 1);
    region.try_write(page_size(), 3u8).unwrap();
}

#[test]
fn the_last_error_survives_a_touch() {
    use windows_sys::Win32::Foundation::{GetLastError, SetLastError};
    let region = Region::builder(10 * page_size())
        .commit_limit(page_size())
        .build()
        .unwrap();
    for offset in [0, 5 * page_size()] {
        // SAFETY: SetLastError has no preconditions.
        unsafe { SetLastError(1234) };
        let _ = region.try_write(offset, 1u8);
        // SAFETY: GetLastError has no preconditions.
        assert_eq!(unsafe { GetLastError() }, 1234);
    }
}

#[test]
fn the_budget_of_a_process_has_a_limit_with_a_name() {
    let budget = elbowroom::Budget::for_process();
    assert!(
        budget.limit_bytes() > 1 << 20 && budget.limit_bytes() < usize::MAX / 2,
        "{budget:?}"
    );
    assert!(
        [
            "commit limit",
            "job object, per process",
            "job object, all processes"
        ]
        .contains(&budget.name()),
        "{budget:?}"
    );
}

/// Returns whether this is Wine, which stores the limits of a job and does not enforce them.
fn is_wine() -> bool {
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
    // SAFETY: a name that ends with zero.
    let ntdll = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    // SAFETY: a module that stays loaded, and a name that ends with zero.
    unsafe { GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()) }.is_some()
}

#[test]
fn the_commit_limit_of_a_job_is_an_error() {
    // In a separate process, which cannot leave the job again.
    let output = common::run_alone("all::windows::in_a_job_with_a_limit");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(is_wine() || text.contains("the job refused"), "{output:?}");
}

#[test]
#[ignore = "run by the_commit_limit_of_a_job_is_an_error in a process of its own"]
fn in_a_job_with_a_limit() {
    use windows_sys::Win32::System::JobObjects::{
        AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_PROCESS_MEMORY,
        JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation,
        SetInformationJobObject,
    };
    use windows_sys::Win32::System::Threading::GetCurrentProcess;

    const LIMIT: usize = 128 << 20;
    // SAFETY: no name and no attributes.
    let job = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
    assert!(!job.is_null());
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_PROCESS_MEMORY;
    limits.ProcessMemoryLimit = LIMIT;
    let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
    // SAFETY: the job made above; the structure is of the class named and of that size.
    let set = unsafe {
        SetInformationJobObject(
            job,
            JobObjectExtendedLimitInformation,
            (&raw const limits).cast(),
            size,
        )
    };
    // SAFETY: no preconditions; a pseudo-handle that need not be closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the job made above, and this process.
    let assigned = unsafe { AssignProcessToJobObject(job, process) };
    if set == 0 || assigned == 0 {
        assert!(is_wine(), "a job can be made and entered");
        return;
    }
    let budget = elbowroom::Budget::for_process();
    let region = Region::new(2 * LIMIT).unwrap();
    match region.commit(0..2 * LIMIT) {
        Ok(()) => assert!(is_wine(), "the job holds its processes to its limit"),
        Err(error) => {
            assert!(error.is_out_of_memory() && !error.is_limit(), "{error}");
            assert_eq!(region.stats().committed_bytes, 0);
            assert!(
                budget.limit_bytes() <= LIMIT && budget.name().starts_with("job object"),
                "{budget:?}"
            );
            region.try_write(LIMIT, 1u8).unwrap();
            println!("the job refused: {error}");
        }
    }
}
