#include "textflag.h"

// func vclone(args *cloneArgs, size uintptr, calls *call, n uintptr, res *result) int
//
// The new process runs on the caller's stack while the caller sleeps
// (CLONE_VFORK), so it touches neither stack nor frame: only registers, the
// list of calls and res. The kernel preserves all but R0.
TEXT ·vclone(SB), NOSPLIT, $0-48
	MOVD	args+0(FP), R0
	MOVD	size+8(FP), R1
	MOVD	calls+16(FP), R19
	MOVD	n+24(FP), R20
	MOVD	res+32(FP), R21
	MOVD	$435, R8	// clone3
	SVC
	CBZ	R0, next
	MOVD	R0, ret+40(FP)
	RET
next:
	MOVD	0(R19), R8
	MOVD	8(R19), R0
	MOVD	16(R19), R1
	MOVD	24(R19), R2
	MOVD	32(R19), R3
	MOVD	40(R19), R4
	MOVD	48(R19), R5
	SVC
	CMN	$4095, R0	// -4095 and up are errors
	BCS	fail
	ADD	$56, R19
	SUB	$1, R20
	CBNZ	R20, next
fail:
	MOVD	R0, 0(R21)
	MOVD	R20, 8(R21)
exit:
	MOVD	$127, R0
	MOVD	$94, R8	// exit_group
	SVC
	B	exit
