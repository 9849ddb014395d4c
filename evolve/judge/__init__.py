"""A model as a judge of replies: shown, held against its own second opinion, and never believed further than it was found
right. It fixes keypoints at the baseline, scores pairs of replies blind, twice with the two swapped, and counts (to order
equals, to warn people) only when it agreed with the graders often enough. No verdict asks it."""
