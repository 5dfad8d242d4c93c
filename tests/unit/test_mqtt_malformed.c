/* What a client may not send: for each, the exact answer and the word for the
 * log, at every split. 3.1.1 has no words for it and is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "mqtt_harness.h"

struct row {
    const char *in, *out, *word;
};

/* The connection has sent nothing yet. */
static const struct row first_packet[] = {
    {"c0 00",                                                                 "",               "not_connect"              }, /* [MQTT-3.1.0-1] */
    {"30 ( s\"t\" )",                                                         "",               "not_connect"              },
    {"\"GET / HTTP/1.1\"",                                                    "",               "not_connect"              },
    {"16 03 01 00 a5",                                                        "",               "not_connect"              }, /* a TLS hello */
    {"00 00",                                                                 "",               "not_connect"              },
    {"11 ( s\"MQTT\" 04 02 00 3c s\"d\" )",                                   "",               "not_connect"              }, /* [MQTT-2.2.2-2] */
    {"10 ff ff ff ff 01",                                                     "",               "remaining_length"         },
    {"10 ( s\"MQTX\" 04 02 00 3c s\"d\" )",                                   "",               "protocol_name"            }, /* [MQTT-3.1.2-1] */
    {"10 ( s\"mqtt\" 05 02 00 3c () s\"d\" )",                                "",               "protocol_name"            },
    {"10 ( s\"\" 04 02 00 3c s\"d\" )",                                       "",               "protocol_name"            },
    {"10 ( s\"MQTT\" )",                                                      "",               "malformed_packet"         },
    {"10 ( )",                                                                "",               "malformed_packet"         },
    {"10 ( s\"MQTT\" 04 02 00 )",                                             "",               "malformed_packet"         },
    {"10 ( s\"MQTT\" 05 02 )",                                                "20 03 00 81 00", "malformed_packet"         },
    {"10 ( s\"MQTT\" 04 03 00 3c s\"d\" )",                                   "",               "connect_reserved_flag"    }, /* [MQTT-3.1.2-3] */
    {"10 ( s\"MQTT\" 05 03 00 3c () s\"d\" )",                                "20 03 00 81 00", "connect_reserved_flag"    },
    {"10 ( s\"MQTT\" 04 1e 00 3c s\"d\" s\"w\" s\"p\" )",                     "",               "will_qos_3"               }, /* [MQTT-3.1.2-14] */
    {"10 ( s\"MQTT\" 05 1e 00 3c () s\"d\" () s\"w\" s\"p\" )",               "20 03 00 81 00", "will_qos_3"               },
    {"10 ( s\"MQTT\" 04 0a 00 3c s\"d\" )",                                   "",               "will_flags_without_will"  }, /* [MQTT-3.1.2-13] */
    {"10 ( s\"MQTT\" 05 22 00 3c () s\"d\" )",                                "20 03 00 81 00", "will_flags_without_will"  },
    {"10 ( s\"MQTT\" 04 42 00 3c s\"d\" s\"pw\" )",                           "",               "password_without_username"}, /* -22 */
    {"10 ( s\"MQTT\" 04 06 00 3c s\"d\" s\"w/#\" s\"p\" )",                   "",               "will_topic"               },
    {"10 ( s\"MQTT\" 05 06 00 3c () s\"d\" () s\"\" s\"p\" )",                "20 03 00 82 00", "will_topic"               },
    {"10 ( s\"MQTT\" 05 06 00 3c () s\"d\" ( 08 s\"+\" ) s\"w\" s\"p\" )",    "20 03 00 82 00",
     "response_topic"                                                                                                      },
    {"10 ( s\"MQTT\" 05 06 00 3c () s\"d\" ( 01 01 ) s\"w\" 00 01 ff )",      "20 03 00 99 00",
     "payload_format_invalid"                                                                                              },
    {"10 ( s\"MQTT\" 04 02 00 3c 00 02 c0 80 )",                              "",               "malformed_packet"         }, /* [MQTT-1.5.3-1] */
    {"10 ( s\"MQTT\" 04 02 00 3c 00 03 ed a0 80 )",                           "",               "malformed_packet"         }, /* a surrogate */
    {"10 ( s\"MQTT\" 05 02 00 3c () 00 03 \"a\" 00 \"b\" )",                  "20 03 00 81 00", "malformed_packet"         },
    {"10 ( s\"MQTT\" 05 82 00 3c () s\"d\" 00 01 ff )",                       "20 03 00 81 00", "malformed_packet"         },
    {"10 ( s\"MQTT\" 04 82 00 3c s\"d\" )",                                   "",               "malformed_packet"         }, /* no user name there */
    {"10 ( s\"MQTT\" 04 02 00 3c s\"d\" \"more\" )",                          "",               "trailing_bytes"           },
    {"10 ( s\"MQTT\" 04 02 00 3c )",                                          "",               "malformed_packet"         }, /* [MQTT-3.1.3-3] */
    {"10 ( s\"MQTT\" 04 02 00 3c 00 03 \"a\" 00 \"b\" )",                     "",               "malformed_packet"         }, /* [MQTT-1.5.3-2] */
    {"10 ( s\"MQTT\" 04 06 00 3c s\"d\" s\"w\" )",                            "",               "malformed_packet"         }, /* [MQTT-3.1.2-9] */
    {"10 ( s\"MQTT\" 04 06 00 3c s\"d\" 00 02 c3 28 s\"p\" )",                "",               "will_topic"               }, /* [MQTT-3.1.3-10] */
    {"10 ( s\"MQTT\" 04 22 00 3c s\"d\" )",                                   "",               "will_flags_without_will"  }, /* [MQTT-3.1.2-15] */
    {"10 ( s\"MQTT\" 04 c2 00 3c s\"d\" s\"u\" )",                            "",               "malformed_packet"         }, /* [MQTT-3.1.2-21] */
    {"10 ( s\"MQTT\" 04 82 00 3c s\"d\" 00 01 ff )",                          "",               "malformed_packet"         }, /* [MQTT-3.1.3-11] */
    {"10 ( s\"MQTT\" 05 02 00 3c () s\"d\" 00 )",                             "20 03 00 81 00", "trailing_bytes"           },
    {"10 ( s\"MQTT\" 05 02 00 3c ( 21 00 00 ) s\"d\" )",                      "20 03 00 82 00", "property_value"           },
    {"10 ( s\"MQTT\" 05 02 00 3c ( 27 00 00 00 00 ) s\"d\" )",                "20 03 00 82 00", "property_value"           },
    {"10 ( s\"MQTT\" 05 02 00 3c ( 17 02 ) s\"d\" )",                         "20 03 00 82 00", "property_value"           },
    {"10 ( s\"MQTT\" 05 02 00 3c ( 11 00 00 00 01 11 00 00 00 01 ) s\"d\" )", "20 03 00 82 00",
     "property_repeated"                                                                                                   },
    {"10 ( s\"MQTT\" 05 02 00 3c ( 24 01 ) s\"d\" )",                         "20 03 00 81 00", "property_not_allowed"     },
    {"10 ( s\"MQTT\" 05 02 00 3c ( 16 s\"x\" ) s\"d\" )",                     "20 03 00 82 00",
     "auth_data_without_method"                                                                                            },
    {"10 ( s\"MQTT\" 05 06 00 3c () s\"d\" () 00 02 c3 28 s\"p\" )",        "20 03 00 81 00", "will_topic"               }, /* [MQTT-3.1.3-11] */
    {"10 ( s\"MQTT\" 05 06 00 3c () s\"d\" () 00 03 \"a\" 00 \"b\" s\"p\" )", "20 03 00 81 00", "will_topic"           },
    {"10 ( s\"MQTT\" 05 02 00 3c ( 21 00 01 21 00 01 ) s\"d\" )",           "20 03 00 82 00", "property_repeated"        },
    {"10 ( s\"MQTT\" 05 02 00 3c ( 19 02 ) s\"d\" )",                         "20 03 00 82 00", "property_value"           },
    {"10 ( s\"MQTT\" 05 02 00 3c 7f 11 00 )",                                 "20 03 00 81 00", "property_length"          },
};

static const struct row in_5[] = {
    {"00 00",                                   "e0 01 81", "fixed_header_flags"     },
    {"36 ( s\"t\" 00 01 () )",                  "e0 01 81", "fixed_header_flags"     }, /* [MQTT-3.3.1-4] QoS 3 */
    {"38 ( s\"t\" () )",                        "e0 01 81", "dup_with_qos_0"         }, /* [MQTT-3.3.1-2] */
    {"32 ( s\"t\" 00 00 () )",                  "e0 01 82", "packet_id_0"            }, /* [MQTT-2.2.1-3] */
    {"30 ( s\"a/+\" () )",                      "e0 01 81", "topic_not_valid"        }, /* [MQTT-3.3.2-2] */
    {"30 ( s\"#\" () )",                        "e0 01 81", "topic_not_valid"        },
    {"30 ( 00 02 c3 28 () )",                   "e0 01 81", "topic_not_valid"        }, /* [MQTT-1.5.4-1] */
    {"30 ( 00 03 \"a\" 00 \"b\" () )",          "e0 01 81", "topic_not_valid"        }, /* [MQTT-1.5.4-2] */
    {"30 ( s\"\" () \"x\" )",                   "e0 01 82", "topic_empty"            },
    {"30 ( 00 09 \"t\" )",                      "e0 01 81", "malformed_packet"       },
    {"32 ( s\"t\" 00 )",                        "e0 01 81", "malformed_packet"       },
    {"30 ( s\"t\" )",                           "e0 01 81", "property_length"        },
    {"30 ( s\"t\" 05 01 )",                     "e0 01 81", "property_length"        },
    {"30 ( s\"t\" 80 00 )",                     "e0 01 81", "property_length"        }, /* [MQTT-1.5.5-1] */
    {"30 ( s\"t\" ( 01 02 ) )",                 "e0 01 82", "property_value"         },
    {"30 ( s\"t\" ( 01 00 01 00 ) )",           "e0 01 82", "property_repeated"      },
    {"30 ( s\"t\" ( 02 00 00 ) )",              "e0 01 81", "malformed_property"     },
    {"30 ( s\"t\" ( 7e 00 ) )",                 "e0 01 81", "property_not_allowed"   },
    {"30 ( s\"t\" ( 0b 80 00 ) )",             "e0 01 81", "malformed_property"     },
    {"30 ( s\"t\" ( 0b 01 ) )",                 "e0 01 82", "property_not_allowed"   }, /* [MQTT-3.3.4-6] */
    {"30 ( s\"t\" ( 11 00 00 00 01 ) )",        "e0 01 81", "property_not_allowed"   },
    {"30 ( s\"t\" ( 08 s\"a/#\" ) )",           "e0 01 82", "response_topic"         }, /* [MQTT-3.3.2-14] */
    {"30 ( s\"t\" ( 08 s\"\" ) )",              "e0 01 82", "response_topic"         },
    {"30 ( s\"t\" ( 26 s\"k\" 00 02 c3 28 ) )", "e0 01 81", "malformed_property"     },
    {"30 ( s\"t\" ( 26 s\"k\" ) )",             "e0 01 81", "malformed_property"     },
    {"30 ( s\"t\" ( 01 01 ) ff )",              "e0 01 99", "payload_format_invalid" },
    {"30 ( s\"t\" ( 23 00 00 ) )",              "e0 01 94", "topic_alias_invalid"    },
    {"c0 80 00",                                "e0 01 81", "remaining_length"       },
    {"30 ff ff ff ff 7f",                       "e0 01 81", "remaining_length"       },
    {"c1 00",                                   "e0 01 81", "fixed_header_flags"     },
    {"c0 ( 00 )",                               "e0 01 81", "trailing_bytes"         },
    {"60 02 00 01",                             "e0 01 81", "fixed_header_flags"     }, /* [MQTT-3.6.1-1] */
    {"62 02 00 00",                             "e0 01 82", "packet_id_0"            },
    {"62 03 00 01 80",                          "e0 01 82", "reason_code"            },
    {"62 ( 00 01 00 () 00 )",                   "e0 01 81", "trailing_bytes"         },
    {"62 01 00",                                "e0 01 81", "malformed_packet"       },
    {"40 03 00 01 11",                          "e0 01 82", "reason_code"            },
    {"40 ( 00 01 00 ( 01 01 ) )",               "e0 01 81", "property_not_allowed"   },
    {"80 ( 00 01 () s\"f\" 00 )",               "e0 01 81", "fixed_header_flags"     }, /* [MQTT-3.8.1-1] */
    {"82 ( 00 00 () s\"f\" 00 )",               "e0 01 82", "packet_id_0"            },
    {"82 ( 00 01 () )",                         "e0 01 82", "no_topic_filter"        }, /* [MQTT-3.8.3-2] */
    {"82 ( 00 01 () s\"f\" 03 )",               "e0 01 81", "subscription_options"   },
    {"82 ( 00 01 () s\"f\" 40 )",               "e0 01 81", "subscription_options"   }, /* [MQTT-3.8.3-5] */
    {"82 ( 00 01 () s\"f\" 30 )",               "e0 01 82", "retain_handling_3"      },
    {"82 ( 00 01 () s\"$share/g/f\" 04 )",      "e0 01 82", "no_local_on_shared"     }, /* -3.8.3-4 */
    {"82 ( 00 01 () s\"$share/g\" 00 )",        "e0 01 81", "topic_filter"           }, /* [MQTT-4.8.2-1] */
    {"82 ( 00 01 () s\"$share//f\" 00 )",       "e0 01 81", "topic_filter"           },
    {"82 ( 00 01 () s\"$share/+/f\" 00 )",      "e0 01 81", "topic_filter"           }, /* [MQTT-4.8.2-2] */
    {"82 ( 00 01 () s\"a/#/b\" 00 )",           "e0 01 81", "topic_filter"           }, /* [MQTT-4.7.1-1] */
    {"82 ( 00 01 () s\"a#\" 00 )",              "e0 01 81", "topic_filter"           },
    {"82 ( 00 01 () s\"a+/b\" 00 )",            "e0 01 81", "topic_filter"           }, /* [MQTT-4.7.1-2] */
    {"82 ( 00 01 () s\"\" 00 )",                "e0 01 81", "topic_filter"           }, /* [MQTT-4.7.3-1] */
    {"82 ( 00 01 () s\"f\" )",                  "e0 01 81", "malformed_packet"       },
    {"82 ( 00 01 ( 0b 00 ) s\"f\" 00 )",        "e0 01 82", "property_value"         },
    {"82 ( 00 01 ( 0b 01 0b 02 ) s\"f\" 00 )",  "e0 01 82", "property_repeated"      },
    {"a2 ( 00 01 () )",                         "e0 01 82", "no_topic_filter"        }, /* [MQTT-3.10.3-2] */
    {"a2 ( 00 01 () s\"a/#b\" )",               "e0 01 81", "topic_filter"           },
    {"a0 ( 00 01 () s\"a\" )",                  "e0 01 81", "fixed_header_flags"     },
    {"20 03 00 00 00",                          "e0 01 82", "packet_type"            }, /* what only servers send */
    {"90 04 00 01 00 00",                       "e0 01 82", "packet_type"            },
    {"b0 04 00 01 00 00",                       "e0 01 82", "packet_type"            },
    {"d0 00",                                   "e0 01 82", "packet_type"            },
    {"10 ( s\"MQTT\" 05 02 00 3c () s\"d\" )",  "e0 01 82", "second_connect"         }, /* [MQTT-3.1.0-2] */
    {"f0 00",                                   "e0 01 82", "auth_without_method"    },
    {"f0 ( 19 ( 15 s\"X\" ) )",                 "e0 01 82", "auth_without_method"    },
    {"f0 ( 01 () )",                            "e0 01 82", "reason_code"            },
    {"e0 01 8e",                                "e0 01 82", "reason_code"            }, /* only a server takes over */
    {"30 ( s\"t\" ( 08 00 02 c3 28 ) )",        "e0 01 81", "malformed_property"     }, /* [MQTT-3.3.2-13] */
    {"30 ( s\"t\" ( 03 00 02 c3 28 ) )",        "e0 01 81", "malformed_property"     }, /* [MQTT-3.3.2-19] */
    {"30 ( s\"t\" ( 03 00 03 \"a\" 00 \"b\" ) )", "e0 01 81", "malformed_property"   },
    {"82 ( 00 01 () 00 02 c3 28 00 )",          "e0 01 81", "topic_filter"           }, /* [MQTT-3.8.3-1] */
    {"82 ( 00 01 () 00 03 \"a\" 00 \"b\" 00 )", "e0 01 81", "topic_filter"           },
    {"82 ( 00 01 () s\"$share/g/\" 00 )",       "e0 01 81", "topic_filter"           }, /* [MQTT-4.8.2-2] */
    {"82 ( 00 01 () s\"$share/g/a/#/b\" 00 )",  "e0 01 81", "topic_filter"           },
    {"82 ( 00 01 () s\"$share/#/t\" 00 )",      "e0 01 81", "topic_filter"           },
    {"82 ( 00 01 () s\"$share/\" 00 )",         "e0 01 81", "topic_filter"           },
    {"82 ( 00 01 ( 0b 80 80 80 80 01 ) s\"f\" 00 )", "e0 01 81", "malformed_property" },
    {"a2 ( 00 01 () 00 02 c3 28 )",             "e0 01 81", "topic_filter"           }, /* [MQTT-3.10.3-1] */
    {"a2 ( 00 01 () s\"$share//t\" )",          "e0 01 81", "topic_filter"           },
    {"a2 ( 00 00 () s\"a\" )",                  "e0 01 82", "packet_id_0"            },
    {"a2 ( 00 01 ( 0b 01 ) s\"a\" )",           "e0 01 81", "property_not_allowed"   },
    {"42 02 00 01",                             "e0 01 81", "fixed_header_flags"     },
    {"52 02 00 01",                             "e0 01 81", "fixed_header_flags"     },
    {"72 02 00 01",                             "e0 01 81", "fixed_header_flags"     },
    {"40 02 00 00",                             "e0 01 82", "packet_id_0"            },
    {"50 02 00 00",                             "e0 01 82", "packet_id_0"            },
    {"70 02 00 00",                             "e0 01 82", "packet_id_0"            },
    {"70 03 00 01 10",                          "e0 01 82", "reason_code"            },
    {"e1 00",                                   "e0 01 81", "fixed_header_flags"     }, /* [MQTT-3.14.1-1] */
    {"e2 01 00",                                "e0 01 81", "fixed_header_flags"     },
    {"f1 00",                                   "e0 01 81", "fixed_header_flags"     }, /* [MQTT-3.15.1-1] */
    {"e0 ( 00 ( 1c s\"elsewhere\" ) )",         "e0 01 81", "property_not_allowed"   },
    {"e0 ( 00 ( 11 00 00 00 01 ) )",            "e0 01 82", "session_expiry_was_zero"},
};

static const struct row in_311[] = {
    {"00 00",                               "", "fixed_header_flags"  },
    {"36 ( s\"t\" 00 01 )",                 "", "fixed_header_flags"  },
    {"38 ( s\"t\" )",                       "", "dup_with_qos_0"      },
    {"32 ( s\"t\" 00 00 )",                 "", "packet_id_0"         },
    {"30 ( s\"a/+\" )",                     "", "topic_not_valid"     },
    {"30 ( s\"\" \"x\" )",                  "", "topic_empty"         }, /* [MQTT-4.7.3-1] */
    {"30 ( 00 02 c3 28 )",                  "", "topic_not_valid"     },
    {"30 ( 00 03 \"a\" 00 \"b\" )",         "", "topic_not_valid"     },
    {"30 ( 00 )",                           "", "malformed_packet"    },
    {"30 ( )",                              "", "malformed_packet"    },
    {"32 ( s\"t\" )",                       "", "malformed_packet"    },
    {"30 ff ff ff ff 7f",                   "", "remaining_length"    },
    {"62 03 00 01 00",                      "", "trailing_bytes"      },
    {"62 02 00 00",                         "", "packet_id_0"         },
    {"40 02 00 00",                         "", "packet_id_0"         },
    {"82 ( 00 01 )",                        "", "no_topic_filter"     },
    {"82 ( 00 01 s\"f\" 03 )",              "", "subscription_options"},
    {"82 ( 00 01 s\"f\" 04 )",              "", "subscription_options"}, /* [MQTT-3-8.3-4] */
    {"82 ( 00 01 s\"a/#/b\" 00 )",          "", "topic_filter"        },
    {"82 ( 00 01 s\"f\" 00 00 )",           "", "malformed_packet"    },
    {"a2 ( 00 01 )",                        "", "no_topic_filter"     },
    {"20 02 00 00",                         "", "packet_type"         },
    {"10 ( s\"MQTT\" 04 02 00 3c s\"d\" )", "", "second_connect"      },
    {"f0 00",                               "", "packet_type"         },
    {"82 ( 00 01 s\"$share//f\" 00 )",      "", "topic_filter"        },
    {"a2 ( 00 01 s\"$share/g\" )",          "", "topic_filter"        },
    {"50 02 00 00",                         "", "packet_id_0"         },
    {"70 02 00 00",                         "", "packet_id_0"         },
    {"50 03 00 01 00",                      "", "trailing_bytes"      },
    {"e0 ( 00 )",                           "", "trailing_bytes"      },
    {"e1 00",                               "", "fixed_header_flags"  },
    {"c0 ( 00 )",                           "", "trailing_bytes"      },
    {"d0 00",                               "", "packet_type"         },
    {"60 02 00 01",                         "", "fixed_header_flags"  }, /* [MQTT-3.6.1-1] */
    {"80 ( 00 01 s\"f\" 00 )",              "", "fixed_header_flags"  }, /* [MQTT-3.8.1-1] */
    {"a0 ( 00 01 s\"f\" )",                 "", "fixed_header_flags"  }, /* [MQTT-3.10.1-1] */
    {"82 ( 00 00 s\"f\" 00 )",              "", "packet_id_0"         }, /* [MQTT-2.3.1-1] */
    {"a2 ( 00 00 s\"f\" )",                 "", "packet_id_0"         },
    {"82 ( 00 01 00 02 c3 28 00 )",         "", "topic_filter"        }, /* [MQTT-3.8.3-1] */
    {"a2 ( 00 01 00 02 c3 28 )",            "", "topic_filter"        }, /* [MQTT-3.10.3-1] */
};

enum start { START_NEW, START_311, START_5 };

static void run_at(const struct row *row, enum start start, struct sl_bytes in, size_t step)
{
    struct harness h;
    harness_init(&h);
    if (start == START_NEW)
        harness_begin(&h);
    else
        harness_open(&h, start == START_5 ? MQTT_V5 : MQTT_V311);
    harness_feed(&h, in, step);
    char log[128];
    snprintf(log, sizeof log, "CLOSE %s\n", row->word);
    if (strcmp(harness_log(&h), log) != 0)
        print_message("at: %s (step %zu)\n", row->in, step);
    expect_log(&h, log);
    expect_out(&h, row->out);
    harness_end(&h);
}

static void run_table(const struct row *rows, size_t n, enum start start)
{
    for (size_t i = 0; i < n; i++) {
        struct sl_buf in = {0};
        notation(&in, rows[i].in);
        for (size_t step = 1; step <= sl_buf_len(&in); step++)
            run_at(&rows[i], start, sl_buf_view(&in), step);
        sl_buf_fini(&in);
    }
    print_message("%zu malformed inputs\n", n);
}

static void a_bad_first_packet_is_refused(void **state)
{
    (void)state;
    run_table(first_packet, SL_COUNT(first_packet), START_NEW);
}

static void a_bad_packet_of_5_is_told_its_reason(void **state)
{
    (void)state;
    run_table(in_5, SL_COUNT(in_5), START_5);
}

static void a_bad_packet_of_311_is_closed(void **state)
{
    (void)state;
    run_table(in_311, SL_COUNT(in_311), START_311);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_first_packet_is_refused),
        cmocka_unit_test(a_bad_packet_of_5_is_told_its_reason),
        cmocka_unit_test(a_bad_packet_of_311_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
