//! Takes DWARF out of an object. What the kernel and aya read (BTF, relocations, symbols) stays.

use anyhow::{Context, Result};
use object::build::elf::Builder;

/// The object without its debug sections and what refers to them.
pub(super) fn debug_sections(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("the linker did not write an ELF object")?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    builder.delete_orphans();
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("cannot write the stripped object")?;
    Ok(stripped)
}
