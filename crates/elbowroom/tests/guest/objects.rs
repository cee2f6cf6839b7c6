//! Other shared objects in the process: a second copy of the library, and one that comes before sigaction.

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use elbowroom::{fault, page_size};

use super::{CALLS, Handler, NEXT, action, count, install, nowhere, region, store};
use crate::common::{child, is_emulated};

/// Returns the path of a shared object that `cargo test` builds as an example. `None` if it is not there, as when
/// only this program was built, or if the tests run under an emulator.
fn shared_object(name: &str) -> Option<std::path::PathBuf> {
    let program = std::env::current_exe().unwrap();
    let examples = program.parent()?.parent()?.join("examples");
    let path = examples.join(format!("lib{name}{}", std::env::consts::DLL_SUFFIX));
    if is_emulated() || !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// The status is the kernel's, even if `sigaction` is a function of another library.
pub(super) fn interposed() {
    use elbowroom::fault::Place;
    if !cfg!(target_os = "linux") {
        return;
    }
    const PRELOADED: &str = "PRELOADED";
    if std::env::var_os(PRELOADED).is_none() {
        let Some(object) = shared_object("interpose") else {
            return;
        };
        let mut command = child("sigaction_is_another_librarys");
        let output = command
            .env("LD_PRELOAD", object)
            .env(PRELOADED, "1")
            .output();
        let output = output.expect("the child starts");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let place = || fault::status().handlers[0].place;
    let region = region();
    // The interposed function would say that ours is first.
    assert_eq!(place(), Place::Displaced);
    region.try_write(0, 1u8).unwrap();
    assert_eq!(place(), Place::Behind);
    fault::reinstall().unwrap();
    region.try_write(page_size(), 1u8).unwrap();
    assert_eq!(place(), Place::Behind);
}

/// A copy of the library in a shared object.
struct Plugin {
    object: *mut c_void,
    region: extern "C" fn() -> *mut c_void,
    release: extern "C" fn(*mut c_void),
}

impl Plugin {
    /// Loads the copy, if it is there.
    fn load() -> Option<Plugin> {
        let path = shared_object("plugin")?;
        let path = std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: the object has no initialisers.
        let object = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!object.is_null());
        let find = |name: &std::ffi::CStr| {
            // SAFETY: an open object and a name.
            let address = unsafe { libc::dlsym(object, name.as_ptr()) };
            assert!(!address.is_null());
            address
        };
        // SAFETY: the function of that name has this type, except for the pointer's target.
        let region = unsafe {
            std::mem::transmute::<*mut c_void, extern "C" fn() -> *mut c_void>(find(
                c"plugin_region",
            ))
        };
        // SAFETY: the function of that name has this type, except for the pointer's target.
        let release = unsafe {
            std::mem::transmute::<*mut c_void, extern "C" fn(*mut c_void)>(find(c"plugin_release"))
        };
        Some(Plugin {
            object,
            region,
            release,
        })
    }
}

/// Each copy treats the other as a foreign handler and puts itself in front.
pub(super) fn two_copies() {
    if let Some(plugin) = Plugin::load() {
        for _ in 0..10 {
            std::mem::forget(region());
            (plugin.region)();
        }
        region().try_write(0, 1u8).unwrap();
    }
    store(nowhere());
}

/// A handler between the program's two handlers stays callable when its object is closed.
pub(super) fn unloaded_copy() {
    install(&action(count as Handler as usize));
    let Some(plugin) = Plugin::load() else { return };
    let made = (plugin.region)();
    let before = install(&action(pass_on as Handler as usize));
    NEXT.store(before.sa_sigaction, Ordering::Relaxed);
    (plugin.release)(made);
    // SAFETY: the object is open, and none of its functions is called by name any more.
    assert_eq!(unsafe { libc::dlclose(plugin.object) }, 0);
    // SAFETY: raise(3) has no preconditions.
    unsafe { libc::raise(libc::SIGSEGV) };
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
}

extern "C" fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the address of the handler that was installed before, with SA_SIGINFO.
    let next: Handler = unsafe { std::mem::transmute(NEXT.load(Ordering::Relaxed)) };
    next(signal, info, context);
}
