package nft

// What follows is from include/uapi/linux: netlink.h, netfilter.h, netfilter/
// nfnetlink.h, nf_tables.h and nf_conntrack_common.h. It is here so that messages
// are built and parsed on any machine.

const (
	nlmError = 2
	nlmDone  = 3

	flagRequest = 0x1
	flagMulti   = 0x2
	flagAck     = 0x4
	flagIntr    = 0x10 // of a dump: something changed meanwhile
	flagCreate  = 0x400
	flagAppend  = 0x800
	flagDump    = 0x300

	flagCapped  = 0x100 // of an error: the request is not repeated whole
	flagAckTLVs = 0x200
	ackMsg      = 1

	nested   = 0x8000
	typeMask = 0x3fff

	batchBegin = 0x10
	batchEnd   = 0x11
	batchGenID = 1
	subsystem  = 10 // NFNL_SUBSYS_NFTABLES

	familyInet = 1
	familyV4   = 2
	familyV6   = 10
)

// enum nf_tables_msg_types
const (
	newTable = iota
	getTable
	delTable
	newChain
	getChain
	delChain
	newRule
	getRule
	delRule
	newSet
	getSet
	delSet
	newSetElem
	getSetElem
	delSetElem
	newGen
	getGen
)

const (
	tableName = 1

	chainTable, chainName, chainHook, chainType = 1, 3, 4, 7
	hookNum, hookPriority                       = 1, 2

	ruleTable, ruleChain, ruleHandle, ruleExprs, ruleUserdata = 1, 2, 3, 4, 7
	userdataComment                                           = 0 // of libnftnl

	setTable, setName, setFlags, setKeyType, setKeyLen, setDataType, setDataLen, setID = 1, 2, 3, 4, 5, 6, 7, 10

	setAnonymous, setConstant, setInterval, setMap = 0x1, 0x2, 0x4, 0x8

	elemsTable, elemsSet, elems, elemsSetID = 1, 2, 3, 4
	elemKey, elemData, elemFlags            = 1, 2, 3
	elemIntervalEnd                         = 1

	listElem                  = 1
	exprName, exprData        = 1, 2
	dataValue, dataVerdict    = 1, 2
	verdictCode, verdictChain = 1, 2
	genID                     = 1

	hookPrerouting, hookForward, hookPostrouting = 0, 2, 4
	reg1                                         = 1
	reg32                                        = 8 // NFT_REG32_00, where reg1 begins

	verdictDrop = 0
	verdictJump = 0xfffffffd // -3

	cmpEq, cmpNeq, cmpLte, cmpGte = 0, 1, 3, 5

	metaIifname, metaOifname, metaNfproto, metaL4proto = 6, 7, 15, 16
	networkHeader, transportHeader                     = 1, 2
	ctState, ctStatus                                  = 0, 2
	fibAddrType, fibDaddr                              = 3, 2
	addrLocal                                          = 2 // RTN_LOCAL of rtnetlink.h
	natDestination                                     = 1

	stateEstablished, stateRelated = 1 << 1, 1 << 2
	statusDNAT                     = 1 << 5

	ifnameSize = 16
)

// Types of keys and data, as nft(8) numbers them: they tell it how to print.
const (
	typeV4      = 7
	typeV6      = 8
	typeService = 13
	typeBits    = 6 // of each part of a concatenation
)

var protocols = map[string]byte{"tcp": 6, "udp": 17, "sctp": 132}
