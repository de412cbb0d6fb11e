"""Synthetic vessel trees and pictures of them, with exact truth."""
