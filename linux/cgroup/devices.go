package cgroup

import (
	"fmt"
	"slices"
)

// Device is a device of the kernel's admin-guide/devices.txt.
type Device struct {
	Block        bool // else it is a character device
	Major, Minor uint32
}

// AnyMinor stands for all devices of a major number.
const AnyMinor = ^uint32(0)

// String is the device as the files of version 1 want it.
func (d Device) String() string {
	kind, minor := 'c', "*"
	if d.Block {
		kind = 'b'
	}
	if d.Minor != AnyMinor {
		minor = fmt.Sprint(d.Minor)
	}
	return fmt.Sprintf("%c %d:%s", kind, d.Major, minor)
}

// Devices are all that the processes of a group may open or make, whatever their
// privileges and wherever a node of another device may be. What is open stays open.
//
// In version 2 a program of the kernel's BPF machine says which: [Devices.Load]. In
// version 1 there is a controller: [Devices.Limit].
type Devices []Device

// Has tells whether a device is on the list.
func (l Devices) Has(d Device) bool {
	return slices.ContainsFunc(l, func(o Device) bool {
		return o.Block == d.Block && o.Major == d.Major && (o.Minor == d.Minor || o.Minor == AnyMinor)
	})
}

// instruction is one of the BPF machine; the kernel's bpf/standardization/instruction-set.rst.
type instruction struct {
	op        uint8
	registers uint8 // destination, and source times 16
	offset    int16
	immediate int32
}

// Codes of instructions: class, width or operation, and where the operand is from.
const (
	opLoad        = 0x61 // LDX | MEM | W
	opAnd         = 0x54 // ALU | AND | K
	opSet         = 0xb7 // ALU64 | MOV | K
	opJumpUnequal = 0x55 // JMP | JNE | K
	opExit        = 0x95 // JMP | EXIT
)

// Registers: 0 is the result, 1 points to the question (struct bpf_cgroup_dev_ctx of
// linux/bpf.h), the others are ours.
const (
	regResult = iota
	regQuestion
	regKind
	regMajor
	regMinor
)

// Kinds of devices in the lower half of a question's first word.
const (
	blockDevice = 1
	charDevice  = 2
)

// program answers 1 for the devices, and 0, which is EPERM, for all others.
func (l Devices) program() []instruction {
	p := []instruction{
		{op: opLoad, registers: regKind | regQuestion<<4, offset: 0},
		{op: opAnd, registers: regKind, immediate: 0xffff},
		{op: opLoad, registers: regMajor | regQuestion<<4, offset: 4},
		{op: opLoad, registers: regMinor | regQuestion<<4, offset: 8},
	}
	for _, d := range l {
		k := int32(charDevice)
		if d.Block {
			k = blockDevice
		}
		tests := []instruction{
			{op: opJumpUnequal, registers: regKind, immediate: k},
			{op: opJumpUnequal, registers: regMajor, immediate: int32(d.Major)},
		}
		if d.Minor != AnyMinor {
			tests = append(tests, instruction{op: opJumpUnequal, registers: regMinor, immediate: int32(d.Minor)})
		}
		for i := range tests { // to the next device
			tests[i].offset = int16(len(tests) - i - 1 + 2)
		}
		p = append(append(p, tests...), answer(1)...)
	}
	return append(p, answer(0)...)
}

func answer(n int32) []instruction {
	return []instruction{{op: opSet, registers: regResult, immediate: n}, {op: opExit}}
}
