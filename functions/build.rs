//! How the five functions are linked: at a fixed address. A Rust program that may lie anywhere names every pointer in
//! its tables to the loader, 24 bytes each: 8 to 14 percent of a function, and the loader goes through all of it at every
//! start. The loader of glibc 2.34, which AWS has, knows no shorter form.

#![allow(clippy::disallowed_methods, reason = "cargo tells a build script about the target by variables")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
