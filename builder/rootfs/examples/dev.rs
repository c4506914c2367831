#![allow(missing_docs, clippy::all)]
use coremax_rootfs::*;
use std::path::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut debs = vec![];
    for e in std::fs::read_dir(&a[1]).unwrap() {
        let p = e.unwrap().path();
        let n = p.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(stem) = n.strip_suffix(".deb") else { continue };
        let v: Vec<&str> = stem.split('_').collect();
        debs.push(Deb {
            name: v[0].into(),
            version: v[1].replace("%3a", ":"),
            architecture: v[2].into(),
            path: p,
        });
    }
    debs.sort_by(|a, b| a.name.cmp(&b.name));
    let t = std::time::Instant::now();
    let u = unpack(&debs, Path::new(&a[2]), &Unpack::default(), &|_| ()).unwrap();
    println!(
        "{} {} left {:?} warn {:?} {:?}",
        u.packages,
        u.bytes,
        u.left,
        u.warnings,
        t.elapsed()
    );
}
