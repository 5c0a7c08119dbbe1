package sitetest

const openPath = 0x400000 // O_PATH, sys/fcntl.h
