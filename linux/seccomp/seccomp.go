// Package seccomp builds filters of system calls: classic BPF programs for
// seccomp(2).
//
// A [Policy] names what is refused and how; everything else that the policy
// knows is allowed, and system calls later than it knows do not exist
// (ENOSYS), so that a new kernel opens no new doors and programs fall back to
// what they used before. [Default] is the policy for containers:
//
//	p, err := seccomp.Default()
//	if err != nil {
//		return err // errors.Is(err, errors.ErrUnsupported): no table for this machine
//	}
//	filter, err := p.Compile()
//	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
//
// and then, with no_new_privs set, seccomp(SECCOMP_SET_MODE_FILTER, 0, &prog).
//
// Programs of another architecture than the policy's (32-bit ones on a 64-bit
// kernel) find no system call at all. See
// Documentation/userspace-api/seccomp_filter.rst.
package seccomp

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// Policy says which system calls are refused.
type Policy struct {
	Arch uint32 // AUDIT_ARCH_ constant of what the numbers mean
	Last uint32 // the highest number known; those above give ENOSYS
	// Deny are refused with an errno.
	Deny map[uint32]syscall.Errno
	// Check are refused, with EPERM, depending on an argument.
	Check map[uint32]Check
}

// Check is a condition on an argument's lower 32 bits: with the mask applied,
// it must be one of the values, or none of them.
type Check struct {
	Arg    int // 0 to 5
	Mask   uint32
	Values []uint32
	None   bool
}

// Instruction is struct sock_filter.
type Instruction struct {
	Op     uint16
	JT, JF uint8
	K      uint32
}

// Instructions used; linux/bpf_common.h.
const (
	load  = 0x20 // BPF_LD | BPF_W | BPF_ABS
	and   = 0x54 // BPF_ALU | BPF_AND | BPF_K
	jump  = 0x05 // BPF_JMP | BPF_JA
	jeq   = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	jge   = 0x35 // BPF_JMP | BPF_JGE | BPF_K
	ret   = 0x06 // BPF_RET | BPF_K
	allow = 0x7fff0000
	fail  = 0x00050000 // with the errno below
)

// Offsets in struct seccomp_data, in bytes; arguments are little-endian.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// maxInstructions is BPF_MAXINSNS.
const maxInstructions = 4096

// span is a run of numbers, up to the start of the next, that are treated alike.
type span struct {
	from uint32
	code []Instruction
}

// Compile makes the filter: a search tree over the numbers, since the kernel
// runs it once for each number when it is installed, and for those with
// conditions at each call.
func (p *Policy) Compile() ([]Instruction, error) {
	spans, err := p.spans()
	if err != nil {
		return nil, err
	}
	out := []Instruction{
		{Op: load, K: offArch},
		{Op: jeq, JT: 1, K: p.Arch},
		refuse(syscall.Errno(enosys)),
		{Op: load, K: offNr},
	}
	out = append(out, tree(spans)...)
	if len(out) > maxInstructions {
		return nil, fmt.Errorf("seccomp filter of %d instructions: the kernel takes %d", len(out), maxInstructions)
	}
	return out, nil
}

// ENOSYS and EPERM of Linux, for filters that are built elsewhere.
const (
	eperm  = 1
	enosys = 38
)

func refuse(e syscall.Errno) Instruction {
	return Instruction{Op: ret, K: fail | uint32(e)&0xffff}
}

// spans cuts all numbers into runs.
func (p *Policy) spans() ([]span, error) {
	special := map[uint32][]Instruction{}
	for nr, e := range p.Deny {
		special[nr] = []Instruction{refuse(e)}
	}
	for nr, c := range p.Check {
		if special[nr] != nil {
			return nil, fmt.Errorf("seccomp: system call %d is both refused and checked", nr)
		}
		code, err := c.compile()
		if err != nil {
			return nil, fmt.Errorf("seccomp: system call %d: %w", nr, err)
		}
		special[nr] = code
	}
	var numbers []uint32
	for nr := range special {
		if nr > p.Last {
			return nil, fmt.Errorf("seccomp: system call %d is past the last, %d", nr, p.Last)
		}
		numbers = append(numbers, nr)
	}
	slices.Sort(numbers)
	pass := []Instruction{{Op: ret, K: allow}}
	out := []span{{0, pass}}
	add := func(s span) {
		last := &out[len(out)-1]
		switch {
		case last.from == s.from:
			last.code = s.code
			return
		case slices.Equal(last.code, s.code):
			return
		}
		out = append(out, s)
	}
	for _, nr := range numbers {
		add(span{nr, special[nr]})
		add(span{nr + 1, pass})
	}
	add(span{p.Last + 1, []Instruction{refuse(enosys)}})
	return out, nil
}

// compile makes the instructions for one condition.
func (c Check) compile() ([]Instruction, error) {
	if c.Arg < 0 || c.Arg > 5 || len(c.Values) > 100 {
		return nil, errors.New("impossible condition")
	}
	hit, miss := Instruction{Op: ret, K: allow}, refuse(eperm)
	if c.None {
		hit, miss = miss, hit
	}
	out := []Instruction{{Op: load, K: uint32(offArgs + 8*c.Arg)}, {Op: and, K: c.Mask}}
	for i, v := range c.Values {
		out = append(out, Instruction{Op: jeq, JT: uint8(len(c.Values) - i), K: v})
	}
	return append(out, miss, hit), nil
}

// tree makes the search among spans, with the number loaded.
func tree(spans []span) []Instruction {
	if len(spans) == 1 {
		return spans[0].code
	}
	mid := len(spans) / 2
	low, high := tree(spans[:mid]), tree(spans[mid:])
	out := []Instruction{{Op: jge, JT: uint8(len(low)), K: spans[mid].from}}
	if len(low) > 255 { // too far for a conditional jump
		out = []Instruction{{Op: jge, JF: 1, K: spans[mid].from}, {Op: jump, K: uint32(len(low))}}
	}
	return append(append(out, low...), high...)
}
