//! What a program or a library of the machine's kind needs to be loaded: the dynamic section of an ELF file.
//! <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html>

use std::{
    fs::File,
    io::{self, Read},
};

use object::{
    Endianness,
    elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader64, PT_INTERP},
    read::elf::{Dyn, FileHeader, ProgramHeader},
};

const MAGIC: &[u8] = b"\x7fELF";

/// What the dynamic linker looks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Names of libraries.
    pub(super) libraries: Vec<String>,
    /// Folders in which to look for them first, those that depend on where the file lies left out.
    pub(super) folders: Vec<String>,
    /// The linker itself, which is no library of a library.
    pub(super) linker: Option<String>,
}

/// The file's content where it is an ELF file.
pub(super) fn read(mut file: File) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut content)?;
    if content != MAGIC {
        return Ok(None);
    }
    file.read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Reads them from a file of 64 bits; none for a static program.
pub(super) fn needs(file: &[u8]) -> object::read::Result<Needs> {
    let header = FileHeader64::<Endianness>::parse(file)?;
    let endian = header.endian()?;
    let mut needs = Needs::default();
    for segment in header.program_headers(endian, file)? {
        if segment.p_type(endian) == PT_INTERP {
            needs.linker = segment.interpreter(endian, file)?.map(text);
        }
    }
    let sections = header.sections(endian, file)?;
    let Some((entries, strings)) = sections.dynamic(endian, file)? else { return Ok(needs) };
    let strings = sections.strings(endian, file, strings)?;
    for entry in entries {
        match entry.tag(endian) {
            DT_NEEDED => needs.libraries.push(text(entry.string(endian, strings)?)),
            DT_RPATH | DT_RUNPATH => {
                let folders = text(entry.string(endian, strings)?);
                let fixed = folders.split(':').filter(|folder| !folder.contains('$'));
                needs.folders.extend(fixed.map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(needs)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_program_of_this_machine_needs_its_c_library() {
        let content = read(File::open("/bin/sh").unwrap()).unwrap().unwrap();
        let needs = needs(&content).unwrap();
        assert_eq!(needs.libraries, ["libc.so.6"]);
        assert!(needs.linker.unwrap().ends_with("ld-linux-x86-64.so.2"));
        assert_eq!(read(File::open("/etc/passwd").unwrap()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(at in 0usize..4096, change: u8, length in 0usize..130_000) {
            let mut content = read(File::open("/bin/sh").unwrap()).unwrap().unwrap();
            content[at] = change;
            content.truncate(length);
            let _ = needs(&content);
        }
    }
}
