//! A Java virtual machine, which makes use of faults itself: for null references and for stopping threads.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{shared_object, skip};

const CLIENT: &str = r#"
public class Client {
    static native long touch(long pages);
    int field = 1;

    static int nulls(int count) {
        int caught = 0;
        for (int n = 0; n < count; n++) {
            Client client = n % 2 == 0 ? null : new Client();
            try {
                caught += client.field - 1;
            } catch (NullPointerException exception) {
                caught++;
            }
        }
        return caught;
    }

    public static void main(String[] arguments) throws Exception {
        System.load(arguments[0]);
        Thread[] threads = new Thread[4];
        for (int t = 0; t < threads.length; t++) {
            threads[t] = new Thread(() -> {
                for (int n = 0; n < 50; n++) {
                    if (nulls(2000) != 1000) throw new AssertionError("nulls");
                    if (touch(200) != 200) throw new AssertionError("touch");
                }
            });
            threads[t].start();
        }
        for (int n = 0; n < 20; n++) {
            byte[][] garbage = new byte[100][];
            for (int m = 0; m < garbage.length; m++) garbage[m] = new byte[10000];
            System.gc();
        }
        for (Thread thread : threads) thread.join();
        System.out.println("done");
    }
}
"#;

fn java(preload: Option<&Path>, options: &[&str]) {
    let folder = std::env::temp_dir().join(format!(
        "elbowroom-java-{}-{}",
        std::process::id(),
        options.len()
    ));
    fs::create_dir_all(&folder).unwrap();
    let source = folder.join("Client.java");
    fs::write(&source, CLIENT).unwrap();
    let mut command = Command::new("java");
    command
        .args(options)
        .args(["-Xmx256m", "-Xss1m"])
        .arg(&source)
        .arg(shared_object());
    if let Some(object) = preload {
        command.env("LD_PRELOAD", object);
    }
    let output = command.output();
    fs::remove_dir_all(folder).unwrap();
    let Ok(output) = output else {
        return skip("java");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success()
        && String::from_utf8_lossy(&output.stderr).contains("module jdk.compiler")
    {
        return skip("a Java development kit");
    }
    assert!(
        output.status.success() && text.contains("done"),
        "{options:?}: {output:?}"
    );
}

#[test]
fn null_references_and_touches() {
    java(None, &[]);
}

#[test]
fn with_libjsig() {
    let link = fs::canonicalize("/usr/bin/java");
    let found = link.ok().and_then(|java| {
        let library = java.parent()?.parent()?.join("lib/libjsig.so");
        library.exists().then_some(library)
    });
    match found {
        Some(library) => java(Some(&library), &["-Xint"]),
        None => skip("libjsig"),
    }
}
