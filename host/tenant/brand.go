package tenant

import "bytes"

// brandSize is how much of an ELF file tells which system it is for, in bytes:
// e_ident, elf(5).
const brandSize = 16

// unbranded tells whether the beginning of a file is that of an ELF file that
// names no system: EI_OSABI is ELFOSABI_NONE.
func unbranded(head []byte) bool {
	return len(head) >= brandSize && bytes.HasPrefix(head, []byte("\x7fELF")) && head[7] == 0
}
