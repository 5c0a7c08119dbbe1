package seccomp

import (
	"encoding/binary"
	"math/rand/v2"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"
)

// judge runs the filter, in an interpreter that is not ours, on a call.
func judge(t testing.TB, filter []Instruction, arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(filter))
	for i, in := range filter {
		raw[i] = bpf.RawInstruction{Op: in.Op, Jt: in.JT, Jf: in.JF, K: in.K}
	}
	ins, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter does not disassemble")
	}
	vm, err := bpf.NewVM(ins)
	if err != nil {
		t.Fatal(err)
	}
	// struct seccomp_data; the interpreter loads words in network order.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[0:], nr)
	binary.BigEndian.PutUint32(data[4:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[16+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[20+8*i:], uint32(a>>32))
	}
	n, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func compile(t testing.TB, p *Policy) []Instruction {
	t.Helper()
	f, err := p.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPolicy(t *testing.T) {
	const arch = 0xc000003e
	p := &Policy{
		Arch: arch, Last: 20,
		Deny:  map[uint32]syscall.Errno{0: 1, 5: 1, 6: 1, 7: 38, 20: 13},
		Check: map[uint32]Check{9: {Arg: 1, Mask: 0xf0, Values: []uint32{0, 0x20}}, 10: {Arg: 5, Mask: ^uint32(0), Values: []uint32{40}, None: true}},
	}
	f := compile(t, p)
	for _, tt := range []struct {
		nr   uint32
		args []uint64
		want uint32
	}{
		{0, nil, fail | 1}, {1, nil, allow}, {4, nil, allow}, {5, nil, fail | 1}, {6, nil, fail | 1}, {7, nil, fail | 38}, {8, nil, allow},
		{9, []uint64{0, 0x0f}, allow}, {9, []uint64{0, 0x2f}, allow}, {9, []uint64{0, 0x10}, fail | 1}, {9, []uint64{0, 0x1_0000_0000}, allow},
		{10, []uint64{0, 0, 0, 0, 0, 40}, fail | 1}, {10, []uint64{40, 40, 40, 40, 40, 41}, allow},
		{19, nil, allow}, {20, nil, fail | 13}, {21, nil, fail | 38}, {0x40000001, nil, fail | 38}, {^uint32(0), nil, fail | 38},
	} {
		if got := judge(t, f, arch, tt.nr, tt.args...); got != tt.want {
			t.Errorf("call %d %v: %#x, want %#x", tt.nr, tt.args, got, tt.want)
		}
		if got := judge(t, f, arch+1, tt.nr, tt.args...); got != fail|38 {
			t.Errorf("call %d of another architecture: %#x", tt.nr, got)
		}
	}
}

// TestLarge: more spans than conditional jumps reach over.
func TestLarge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := &Policy{Arch: 1, Last: 3000, Deny: map[uint32]syscall.Errno{}}
	for range 900 {
		p.Deny[r.Uint32N(3000)] = syscall.Errno(1 + r.IntN(100))
	}
	f := compile(t, p)
	for nr := range uint32(3005) {
		want := uint32(allow)
		if e := p.Deny[nr]; e != 0 {
			want = fail | uint32(e)
		} else if nr > p.Last {
			want = fail | 38
		}
		if got := judge(t, f, 1, nr); got != want {
			t.Fatalf("call %d: %#x, want %#x", nr, got, want)
		}
	}
}

func TestRefusedPolicies(t *testing.T) {
	for name, p := range map[string]*Policy{
		"past the last": {Last: 3, Deny: map[uint32]syscall.Errno{4: 1}},
		"twice":         {Last: 3, Deny: map[uint32]syscall.Errno{2: 1}, Check: map[uint32]Check{2: {}}},
		"no argument":   {Last: 3, Check: map[uint32]Check{2: {Arg: 6}}},
		"too long":      {Last: 1 << 16, Deny: many()},
	} {
		if _, err := p.Compile(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func many() map[uint32]syscall.Errno {
	m := map[uint32]syscall.Errno{}
	for i := range uint32(5000) {
		m[2*i] = 1
	}
	return m
}
