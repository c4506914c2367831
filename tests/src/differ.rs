//! What differs between two disk images, down to the file: for a test that wants them equal to say more than that they
//! are not.
//!
//! An image is taken apart by other people's programs: qemu-img, unsquashfs, debugfs.

mod disk;
mod tree;

use std::{fs, path::Path};

use coremax_fetch::Digest;
use coremax_sandbox::{Cmd, Sandbox};

use crate::failed;
use disk::{Disk, Slice};
use tree::Tree;

/// The differences, a line each: `partition, file system: path: what`. None if the disks have the same bytes.
///
/// # Errors
/// Where an image cannot be read, or a program for it is not here (`skipped: ...`).
pub fn differences(one: &Path, two: &Path) -> Result<Vec<String>, String> {
    let work = tempfile::tempdir().map_err(|e| e.to_string())?;
    let images = [one, two];
    let [one, two] = [(one, "one"), (two, "two")].map(|(image, name)| {
        let folder = work.path().join(name);
        fs::create_dir(&folder).map_err(|e| e.to_string())?;
        Disk::open(image, &folder)
    });
    let (one, two) = (one?, two?);
    let mut lines = one.table_differences(&two);
    for (name, slice) in &one.partitions {
        let Some((_, other)) = two.partitions.iter().find(|(other, _)| other == name) else {
            continue;
        };
        lines.extend(in_slice(name, slice, other)?);
    }
    if lines.is_empty() && !is_same(images[0], images[1])? {
        lines.push("no partition, but the image's own bytes".to_owned());
    }
    Ok(lines)
}

/// The differences between two trees of files, a line each: `path: what`.
///
/// # Errors
/// Where one cannot be read.
pub fn tree_differences(one: &Path, two: &Path) -> Result<Vec<String>, String> {
    let (one, two) = (Tree::of(one)?, Tree::of(two)?);
    Ok(one.differences(&two).collect())
}

/// Whether two files have the same bytes.
///
/// # Errors
/// Where one cannot be read.
pub fn is_same(one: &Path, two: &Path) -> Result<bool, String> {
    let digest = |file: &Path| {
        let opened = fs::File::open(file).and_then(Digest::of_reader);
        opened.map_err(|e| format!("{}: {e}", file.display()))
    };
    Ok(digest(one)? == digest(two)?)
}

/// Those of one partition, layer by layer where it has several.
fn in_slice(name: &str, one: &Slice, two: &Slice) -> Result<Vec<String>, String> {
    let Some(at) = one.first_difference(two)? else { return Ok(Vec::new()) };
    let layers = [one.layers()?, two.layers()?];
    if layers[0].len() != layers[1].len() {
        return Ok(vec![format!("{name}: {} and {} layers", layers[0].len(), layers[1].len())]);
    }
    let mut lines = Vec::new();
    for (number, (one, two)) in layers[0].iter().zip(&layers[1]).enumerate() {
        let Some(at) = one.first_difference(two)? else { continue };
        let name = format!("{name}, squashfs {}", number + 1);
        lines.extend(in_file_system(&name, &squashfs(one)?, &squashfs(two)?, at));
    }
    if !layers[0].is_empty() {
        if lines.is_empty() {
            lines.push(format!("{name}: no layer, but the bytes from {at} on"));
        }
        return Ok(lines);
    }
    let trees = match (one.is_ext4()?, one.is_fat()?) {
        (true, _) => ("ext4", ext4(one)?, ext4(two)?),
        (_, true) => ("FAT", Tree::of_fat(&one.cut_out()?)?, Tree::of_fat(&two.cut_out()?)?),
        _ => return Ok(vec![format!("{name}: the bytes from {at} on")]),
    };
    Ok(in_file_system(&format!("{name}, {}", trees.0), &trees.1, &trees.2, at))
}

/// Those of its files; if there are none, it is the file system itself that differs.
fn in_file_system(name: &str, one: &Tree, two: &Tree, at: u64) -> Vec<String> {
    let lines: Vec<_> = one.differences(two).map(|line| format!("{name}: {line}")).collect();
    if lines.is_empty() {
        vec![format!("{name}: no file, but its own bytes from {at} on")]
    } else {
        lines
    }
}

fn squashfs(slice: &Slice) -> Result<Tree, String> {
    let image = slice.cut_out()?;
    let folder = image.with_extension("tree");
    let program = Cmd::new("unsquashfs", &Sandbox::host());
    // A device cannot be made everywhere, and its status says so: what is missing in both differs in none.
    let program = program.args(["-no-progress", "-ignore-errors", "-d"]).arg(&folder).arg(&image);
    program.output().map_err(|error| failed(&error, "squashfs-tools"))?;
    Tree::of(&folder)
}

fn ext4(slice: &Slice) -> Result<Tree, String> {
    let image = slice.cut_out()?;
    let folder = image.with_extension("tree");
    fs::create_dir(&folder).map_err(|e| e.to_string())?;
    let request = format!("rdump / {}", folder.display());
    let program = Cmd::new("debugfs", &Sandbox::host()).args(["-R", &request]).arg(&image);
    program.run().map_err(|error| failed(&error, "e2fsprogs"))?;
    // debugfs gives links the time at which it takes them out.
    Ok(Tree::of(&folder)?.without_times_of_links())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A file system of this kind with these files, or none where its maker is not here.
    fn made(kind: &str, files: &[(&str, &str)], at: &Path) -> Option<Vec<u8>> {
        let (tree, image) = (at.join("tree"), at.join("image"));
        let _ = (fs::remove_dir_all(&tree), fs::remove_file(&image));
        fs::create_dir_all(tree.join("folder")).unwrap();
        let host = Sandbox::host();
        for (name, text) in files {
            fs::write(tree.join(name), text).unwrap();
        }
        // Times of making do not differ by chance.
        Cmd::new("find", &host)
            .arg(&tree)
            .args(["-exec", "touch", "-d@1000", "{}", "+"])
            .run()
            .unwrap();
        let maker = match kind {
            "squashfs" => Cmd::new("mksquashfs", &host).arg(&tree).arg(&image).args([
                "-quiet",
                "-mkfs-time",
                "0",
            ]),
            "ext4" => {
                let maker =
                    Cmd::new("mke2fs", &host).args(["-q", "-t", "ext4", "-U", "clear", "-d"]);
                // Both: the first is of e2fsprogs 1.47.1 and later, and lost+found has the second's.
                let maker = maker.env("SOURCE_DATE_EPOCH", "1000");
                let maker = maker.env("E2FSPROGS_FAKE_TIME", "1000");
                maker.arg(&tree).arg(&image).args(["4M"])
            }
            _ => return fat(files),
        };
        maker.output().ok()?;
        fs::read(image).ok()
    }

    fn fat(files: &[(&str, &str)]) -> Option<Vec<u8>> {
        let mut disk = std::io::Cursor::new(vec![0; 4 << 20]);
        fatfs::format_volume(&mut disk, fatfs::FormatVolumeOptions::new()).unwrap();
        let volume = fatfs::FileSystem::new(&mut disk, fatfs::FsOptions::new()).unwrap();
        volume.root_dir().create_dir("folder").unwrap();
        for (name, text) in files {
            volume.root_dir().create_file(name).unwrap().write_all(text.as_bytes()).unwrap();
        }
        drop(volume);
        Some(disk.into_inner())
    }

    /// A disk with one partition of these bytes.
    fn disk(path: &Path, bytes: &[u8]) {
        let mut file = fs::File::create_new(path).unwrap();
        file.set_len(16 * MIB).unwrap();
        let mut table = gptman::GPT::new_from(&mut file, 512, [7; 16]).unwrap();
        table[1] = gptman::GPTPartitionEntry {
            partition_type_guid: [9; 16],
            unique_partition_guid: [8; 16],
            starting_lba: 2048,
            ending_lba: 2048 * 9 - 1,
            attribute_bits: 0,
            partition_name: "part".into(),
        };
        table.write_into(&mut file).unwrap();
        file.seek(SeekFrom::Start(MIB)).unwrap();
        file.write_all(bytes).unwrap();
    }

    #[test]
    fn a_changed_file_is_named_with_its_file_system() {
        let before = [("same", "same"), ("folder/file", "one"), ("gone", "")];
        let after = [("same", "same"), ("folder/file", "two"), ("new", "")];
        for (kind, place) in
            [("squashfs", "part, squashfs 1"), ("ext4", "part, ext4"), ("fat", "part, FAT")]
        {
            let at = tempfile::tempdir().unwrap();
            let images = [made(kind, &before, at.path()), made(kind, &after, at.path())];
            let [Some(one), Some(two)] = images else {
                coremax_skip::skip_test("a_changed_file_is_named_with_its_file_system", kind);
                continue;
            };
            let paths = ["one.raw", "two.raw", "again.raw"].map(|name| at.path().join(name));
            for (path, bytes) in paths.iter().zip([&one, &two, &one]) {
                disk(path, bytes);
            }
            assert_eq!(differences(&paths[0], &paths[2]).unwrap(), [""; 0], "{kind}");
            let mut found = differences(&paths[0], &paths[1]).unwrap();
            found.sort();
            let want =
                ["folder/file: content", "gone: only in the first", "new: only in the second"];
            assert_eq!(found, want.map(|line| format!("{place}: {line}")), "{kind}");
        }
    }

    #[test]
    fn what_is_no_file_is_told_by_its_place() {
        let at = tempfile::tempdir().unwrap();
        let paths = ["one.raw", "two.raw", "three.raw"].map(|name| at.path().join(name));
        disk(&paths[0], b"12345");
        disk(&paths[1], b"12845");
        disk(&paths[2], b"12345");
        let mut file = fs::File::options().read(true).write(true).open(&paths[2]).unwrap();
        let mut byte = [0];
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&[!byte[0]]).unwrap();
        assert_eq!(differences(&paths[0], &paths[1]).unwrap(), ["part: the bytes from 2 on"]);
        assert_eq!(
            differences(&paths[0], &paths[2]).unwrap(),
            ["before the partitions: the bytes from 0 on"]
        );
    }
}
