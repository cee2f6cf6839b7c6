//! The command's tests, in one program.

mod common;

mod all {
    mod bench;
    mod compare;
    mod demo;
    mod doctor;
    mod manual;
    mod map;
    mod output;
    mod page;
    mod page_interrupted;
    mod page_sort;
    mod usage;
    mod watch;
}
