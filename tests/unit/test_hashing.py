"""What tests hash with is not what the product hashes with."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password

import console.settings
from tests.hashing import QuickArgon2

SECRET = "long-enough-Secret-1"


def test_the_product_hashes_with_argon2id_at_full_strength(settings):
    settings.PASSWORD_HASHERS = console.settings.PASSWORD_HASHERS

    stored = make_password(SECRET)

    assert console.settings.PASSWORD_HASHERS == ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    assert stored.startswith("argon2$argon2id$v=19$m=102400,t=2,p=8$")
    assert check_password(SECRET, stored)
    assert not check_password("another-Secret-12", stored)


def test_the_tests_hash_in_the_same_form(settings):
    stored = make_password(SECRET)

    assert [f"{QuickArgon2.__module__}.{QuickArgon2.__name__}"] == settings.PASSWORD_HASHERS
    assert stored.startswith("argon2$argon2id$v=19$m=8,t=1,p=1$")
    assert check_password(SECRET, stored)
    assert QuickArgon2.algorithm == Argon2PasswordHasher.algorithm
