#include "textflag.h"

// func vclone(args *cloneArgs, size uintptr, calls *call, n uintptr, res *result) int
//
// The new process runs on the caller's stack while the caller sleeps
// (CLONE_VFORK), so it touches neither stack nor frame: only registers, the
// list of calls and res. The kernel preserves all but AX, CX and R11.
TEXT ·vclone(SB), NOSPLIT, $0-48
	MOVQ	args+0(FP), DI
	MOVQ	size+8(FP), SI
	MOVQ	calls+16(FP), R12
	MOVQ	n+24(FP), R13
	MOVQ	res+32(FP), BX
	MOVQ	$435, AX	// clone3
	SYSCALL
	TESTQ	AX, AX
	JEQ	next
	MOVQ	AX, ret+40(FP)
	RET
next:
	MOVQ	0(R12), AX
	MOVQ	8(R12), DI
	MOVQ	16(R12), SI
	MOVQ	24(R12), DX
	MOVQ	32(R12), R10
	MOVQ	40(R12), R8
	MOVQ	48(R12), R9
	SYSCALL
	CMPQ	AX, $0xfffffffffffff001	// -4095 and up are errors
	JCC	fail
	ADDQ	$56, R12
	DECQ	R13
	JNE	next
fail:
	MOVQ	AX, 0(BX)
	MOVQ	R13, 8(BX)
exit:
	MOVQ	$127, DI
	MOVQ	$231, AX	// exit_group
	SYSCALL
	JMP	exit
